"""Mistakes of the user, told in one line."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """What the user asked for cannot be done; the message says why and how to mend it."""

    def __str__(self) -> str:
        """The message on one line, whatever it was made of."""
        return " ".join(super().__str__().split())


def suggestion(name: str, choices: Iterable[str]) -> str:
    """A hint at the choice that was probably meant."""
    by_lower = {choice.lower(): choice for choice in choices}
    close = get_close_matches(name.lower(), by_lower, n=3)
    return f"did you mean {' or '.join(repr(by_lower[match]) for match in close)}? " if close else ""


def unknown(kind: str, name: str, choices: Iterable[str]) -> UserError:
    """The error for a name that is none of the choices."""
    known = sorted(choices)
    return UserError(f"unknown {kind} {name!r}: {suggestion(name, known)}choose from {', '.join(known)}")


def reason(error: BaseException) -> str:
    """What an exception says, also when it says nothing."""
    return str(error) or type(error).__name__
