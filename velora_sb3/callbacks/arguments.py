"""Checks of what users pass to callbacks, with one clear error for each."""

from __future__ import annotations

import math
from numbers import Real


def whole_number(name: str, value: object, least: int = 1) -> int:
    """Check a count.

    Args:
        name: The argument's name.
        value: What came.
        least: The smallest that makes sense.

    Returns:
        The number.

    Raises:
        ValueError: If it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
    return value


def number(name: str, value: object, above: float, below: float = math.inf, *, or_equal: bool = False) -> float:
    """Check a quantity.

    Args:
        name: The argument's name.
        value: What came.
        above: Its lower limit, which it must not reach.
        below: Its upper limit, which it must not reach.
        or_equal: Whether it may reach the limits.

    Returns:
        The number.

    Raises:
        ValueError: If it is something else.
    """
    if isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value):
        plain = float(value)
        if above < plain < below or (or_equal and plain in (above, below)):
            return plain
    limits = f"{'of at least' if or_equal else 'above'} {above:g}"
    if below < math.inf:
        limits += f" and {'at most' if or_equal else 'below'} {below:g}"
    raise ValueError(f"{name} must be a number {limits}, got {value!r}")
