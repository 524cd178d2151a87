"""Kinds of numbers that options take."""

from __future__ import annotations

from argparse import ArgumentTypeError


def whole_number(text: str) -> int:
    """Read ``20000``, ``20_000`` or ``2e4``."""
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
    """Read a whole number of at least 1."""
    number = whole_number(text)
    if number < 1:
        raise ArgumentTypeError(f"must be at least 1, got {text}")
    return number


def zero_or_more(text: str) -> int:
    """Read a whole number of at least 0."""
    number = whole_number(text)
    if number < 0:
        raise ArgumentTypeError(f"must be at least 0, got {text}")
    return number


def seed(text: str) -> int:
    """Read a seed. It leaves room below numpy's limit of 2**32 for the seeds derived from it."""
    number = zero_or_more(text)
    if number >= 2**31:
        raise ArgumentTypeError(f"must be below 2**31, got {text}")
    return number
