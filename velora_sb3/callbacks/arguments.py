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


def number(
    name: str, value: object, *, above: float = -math.inf, least: float = -math.inf, most: float = math.inf
) -> float:
    """Check a quantity.

    Args:
        name: The argument's name.
        value: What came.
        above: A limit that it must exceed.
        least: The smallest that makes sense.
        most: The largest that makes sense.

    Returns:
        The number.

    Raises:
        ValueError: If it is something else, infinite, or outside of the limits.
    """
    if not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value):
        plain = float(value)
        if plain > above and least <= plain <= most:
            return plain
    limits = {"above": above, "of at least": least, "of at most": most}
    told = " and ".join(f"{word} {limit:g}" for word, limit in limits.items() if math.isfinite(limit))
    raise ValueError(f"{name} must be a number {told}, got {value!r}")
