"""What pushing and pulling share: names of repositories, the client, and its errors in one line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from velora_sb3._optional import installed_version, require

NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?"
LOGIN = "pass token=, set HF_TOKEN, or log in with `hf auth login`"


class HubError(RuntimeError):
    """The Hub cannot be reached, refuses a request, or has no such model; the message says which, and what helps."""


def check_repo_id(repo_id: str) -> str:
    """A repository's name, ``user/name``; raises ``ValueError`` otherwise."""
    if isinstance(repo_id, str) and (slashes := repo_id.count("/")) != 1:
        fix = "leave out a host, a folder or a file name" if slashes else "put the user or organization in front"
        raise ValueError(f"repo_id must be 'user/name', two parts, got {repo_id!r} with {slashes + 1}: {fix}")
    fits = isinstance(repo_id, str) and re.fullmatch(rf"{NAME}/{NAME}", repo_id) and len(repo_id) <= 96
    if not fits or "--" in repo_id or ".." in repo_id or repo_id.endswith(".git"):
        raise ValueError(
            "repo_id must be 'user/name' of at most 96 letters, digits, '-', '_' and '.', without '--', '..' and "
            f"'.git' at the end, got {repo_id!r}"
        )
    return repo_id


def make_client(user: str, token: str | None) -> Any:
    """The Hub's client; ``user`` is the function that needs it."""
    require("hub", user)
    from huggingface_hub import HfApi

    return HfApi(token=token, library_name="velora-sb3", library_version=installed_version("velora-sb3"))


@contextmanager
def clear_errors(doing: str, repo_id: str, revision: str | None, after: str = "") -> Iterator[None]:
    """Turn whatever the client raises into a :class:`HubError`; ``after`` is added to its message."""
    try:
        yield
    except HubError as error:
        raise HubError(f"{error}{after}") from error
    except Exception as error:  # of the client and of its HTTP library, which depends on the client's version
        raise HubError(f"cannot {doing} {repo_id}: {_reason(error, repo_id, revision)}{after}") from error


def _reason(error: BaseException, repo_id: str, revision: str | None) -> str:
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    while isinstance(error, LocalEntryNotFoundError | RuntimeError) and error.__cause__ is not None:
        error = error.__cause__  # the first is raised after a look into the cache, the other names the file
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, GatedRepoError):
        return f"it is gated: ask for access at {constants.ENDPOINT}/{repo_id}"
    if isinstance(error, RevisionNotFoundError):
        return f"it has no revision {revision!r}"
    if isinstance(error, RepositoryNotFoundError):
        return f"there is no such repository, or it is private and the token does not open it: {LOGIN}"
    if status in (401, 403):
        return f"the Hub refuses the token ({status}): {LOGIN}, with a token that may write there"
    text = " ".join(str(error).split()) or "no details"
    if status is not None:
        return f"the Hub answered {status}: {text}"
    if isinstance(error, OfflineModeIsEnabled) or constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set, and it is not in the cache"
    name = type(error).__name__
    if "Connect" in name or "Timeout" in name or "Network" in name or "Protocol" in name:
        return f"{constants.ENDPOINT} cannot be reached ({name}: {text})"
    return f"{name}: {text}"
