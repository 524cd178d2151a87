"""Training in W&B."""

from __future__ import annotations

import netrc
import os
import secrets
import string
from typing import Any
from urllib.parse import urlsplit

from velora_sb3._validation import check_choice
from velora_sb3.callbacks.trackers.analytics import Analytics, expand_user

OTHER_MODES = {"run": "online", "dryrun": "offline"}  # names that W&B takes, too
PLACES = {"online": "to W&B", "offline": "to disk", "disabled": "nowhere"}


class WandbAnalytics(Analytics):
    r"""Sends training to `Weights & Biases <https://wandb.ai>`_: episodes, SB3's log, settings, videos, checkpoints.

    Every row has ``timesteps``, the x-axis of all charts.

    Args:
        project: Name of the project, at most 128 characters without any of ``/\#?%:``.
        name: Name of the run, at most 128 characters; None for ``<Algorithm>_<EnvName>_<total steps>``. If None, a
            continued run keeps its name.
        tags: Tags of the run, of 1 to 64 characters; None for the names of the algorithm and the environment. If None,
            a continued run keeps its tags.
        run_id: ID of a run to continue.
        mode: ``"online"`` to send the run to the server, ``"offline"`` to write it to disk for ``wandb sync``,
            ``"disabled"`` for nothing. None follows ``WANDB_MODE``, and is online by default if there is an API key.
        checkpoints: Whether to send what a ``SaveCheckpoints`` saves, as artifacts.
        verbose: 0 for no output, 1 to print where the run is recorded.

    Raises:
        ImportError: If ``wandb`` is missing.
        ValueError: If ``mode`` is unknown, or W&B would refuse ``project``, ``name``, ``tags`` or ``run_id``.
        TypeError: If ``tags`` is not a list of strings.
    """

    kind = "wandb"
    sign_in = "set WANDB_API_KEY or run `wandb login`"
    longest_name, longest_tag = 128, 64

    def __init__(
        self,
        project: str,
        name: str | None = None,
        *,
        tags: list[str] | None = None,
        run_id: str | None = None,
        mode: str | None = None,
        checkpoints: bool = False,
        verbose: int = 0,
    ) -> None:
        super().__init__(name, tags, run_id, checkpoints, verbose)
        if len(project) > self.longest_name or set(project) & set("/\\#?%:"):
            raise ValueError(
                f"project must have at most {self.longest_name} characters without any of /\\#?%:, got {project!r}"
            )
        if len(name or "") > self.longest_name:
            raise ValueError(f"name must have at most {self.longest_name} characters, got {name!r}")
        for tag in tags or []:
            if not 1 <= len(tag) <= self.longest_tag:
                raise ValueError(f"a tag must have 1 to {self.longest_tag} characters, got {tag!r}")
        if run_id is not None and (not run_id or run_id != run_id.strip() or set(run_id) & set("/\\#?%:;,'")):
            raise ValueError(
                f"run_id must not be empty or contain any of /\\#?%:;,' or spaces at its ends, got {run_id!r}"
            )
        self.project, self.mode = project, mode
        variable = os.environ.get("WANDB_MODE")
        name, chosen = ("mode", mode) if mode else ("WANDB_MODE", OTHER_MODES.get(variable or "", variable))
        self._choose_mode(check_choice(name, chosen, PLACES) if chosen else None)

    @property
    def run_id(self) -> str | None:
        """ID of the run; None before the first starts."""
        return self._run_key

    def config(self) -> tuple[str, dict[str, Any]]:
        """Name and settings."""
        return type(self).__name__, {
            "project": self.project,
            "name": self.name,
            "tags": self.tags,
            "run_id": self._given_key,
            "mode": self.mode,
            "checkpoints": self.checkpoints,
        }

    def info(self) -> str:
        """Where training is recorded."""
        return f"WandbAnalytics: records project {self.project!r} {PLACES[self._mode]}"

    def _has_api_key(self) -> bool:
        """Whether W&B will find an API key; its package is not imported to find out."""
        if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
            return True
        host = urlsplit(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").hostname or ""
        given = os.environ.get("NETRC")
        for path in [given] if given else ["~/.netrc", "~/_netrc"]:
            try:
                entry = netrc.netrc(str(expand_user(path))).authenticators(host)
            except (OSError, UnicodeDecodeError, netrc.NetrcParseError):
                continue
            if entry is not None and entry[2]:
                return True
        return False

    def _new_key(self) -> str:
        letters = string.ascii_lowercase + string.digits
        # Sweeps set the variable; W&B's own ids look like the others.
        return os.environ.get("WANDB_RUN_ID") or "".join(secrets.choice(letters) for _ in range(8))

    def _run_settings(self, name: str | None, continues: bool) -> dict[str, Any]:
        return {"project": self.project, "name": name, "run_id": self._run_key, "continues": continues}
