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
    """A hint at the choice that was probably meant.

    Args:
        name: What the user wrote.
        choices: What there is.

    Returns:
        ``"did you mean 'x'? "``, or nothing if no choice is close.
    """
    by_lower = {choice.lower(): choice for choice in choices}
    close = get_close_matches(name.lower(), by_lower, n=3)
    return f"did you mean {' or '.join(repr(by_lower[match]) for match in close)}? " if close else ""


def unknown(kind: str, name: str, choices: Iterable[str]) -> UserError:
    """The error for a name that is none of the choices.

    Args:
        kind: What the name is of, such as ``algorithm``.
        name: What the user wrote.
        choices: What there is.

    Returns:
        The error, to be raised.
    """
    known = sorted(choices)
    return UserError(f"unknown {kind} {name!r}: {suggestion(name, known)}choose from {', '.join(known)}")


def reason(error: BaseException) -> str:
    """What an exception says, also when it says nothing.

    Args:
        error: The exception.

    Returns:
        Its message, or the name of its class.
    """
    return str(error) or type(error).__name__
