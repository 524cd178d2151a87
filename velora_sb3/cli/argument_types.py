"""Kinds of numbers that options take."""

from __future__ import annotations

from argparse import ArgumentTypeError


def whole_number(text: str) -> int:
    """Read ``20000``, ``20_000`` or ``2e4``.

    Args:
        text: What the user wrote.

    Returns:
        The number.

    Raises:
        ArgumentTypeError: If it is not a whole number.
    """
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
        if number == int(number):
            return int(number)
    except (ValueError, OverflowError):
        pass
    raise ArgumentTypeError(f"{text!r} is not a whole number")


def positive(text: str) -> int:
    """Read a whole number of at least 1.

    Args:
        text: What the user wrote.

    Returns:
        The number.

    Raises:
        ArgumentTypeError: If it is not one.
    """
    number = whole_number(text)
    if number < 1:
        raise ArgumentTypeError(f"must be at least 1, got {text}")
    return number


def zero_or_more(text: str) -> int:
    """Read a whole number of at least 0.

    Args:
        text: What the user wrote.

    Returns:
        The number.

    Raises:
        ArgumentTypeError: If it is not one.
    """
    number = whole_number(text)
    if number < 0:
        raise ArgumentTypeError(f"must be at least 0, got {text}")
    return number


def seed(text: str) -> int:
    """Read a seed. It leaves room below numpy's limit of 2**32 for the seeds derived from it.

    Args:
        text: What the user wrote.

    Returns:
        The number.

    Raises:
        ArgumentTypeError: If it is none.
    """
    number = zero_or_more(text)
    if number >= 2**31:
        raise ArgumentTypeError(f"must be below 2**31, got {text}")
    return number
