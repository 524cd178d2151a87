"""Errors of the user, reported in one line."""

from __future__ import annotations

from collections.abc import Iterable

from velora_sb3._validation import suggestion


class UserError(Exception):
    """A request that cannot be fulfilled; the message says why and how to fix it."""

    def __str__(self) -> str:
        """The message on one line."""
        return " ".join(super().__str__().split())


def unknown(kind: str, name: str, choices: Iterable[str]) -> UserError:
    """The error for a name that is not among the choices."""
    known = sorted(set(choices))
    separator = "; " if any("," in choice for choice in known) else ", "
    return UserError(f"unknown {kind} {name!r}: {suggestion(name, known)}choose from {separator.join(known)}")


def reason(error: BaseException) -> str:
    """The message of an exception, or its type if it has none."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__
