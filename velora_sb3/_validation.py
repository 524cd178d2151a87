"""Checks of arguments, each with one error that says what came and what was expected; and what such checks need."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np

Choice = TypeVar("Choice")
SIMILAR = 0.65  # of difflib's ratio; at its default of 0.6, "nope" resembles "Hopper"


def check_integer(name: str, value: object, least: int = 1, most: float = math.inf) -> int:
    """An integer, Python's or numpy's, as Python's; raises ``ValueError`` otherwise."""
    if not isinstance(value, bool) and isinstance(value, Integral) and least <= int(value) <= most:
        return int(value)
    limits = f"of at least {least}" if most == math.inf else f"from {least} to {most:g}"
    raise ValueError(f"{name} must be an integer {limits}, got {value!r}")


def check_timesteps(name: str, value: object) -> int:
    """A number of timesteps, at least 1, also as the float that ``1e6`` is; raises ``ValueError`` otherwise."""
    return check_integer(name, int(value) if isinstance(value, float) and value.is_integer() else value)


def check_number(
    name: str,
    value: object,
    *,
    above: float = -math.inf,
    least: float = -math.inf,
    below: float = math.inf,
    most: float = math.inf,
) -> float:
    """A finite number within limits, Python's or numpy's, as a float; raises ``ValueError`` otherwise."""
    if not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value):
        plain = float(value)
        if plain > above and least <= plain <= most and plain < below:
            return plain
    limits = {"above": above, "at least": least, "below": below, "at most": most}
    wanted = " and ".join(f"{word} {limit:g}" for word, limit in limits.items() if math.isfinite(limit))
    raise ValueError(f"{name} must be a finite number{wanted and ' '}{wanted}, got {value!r}")


def check_bool(name: str, value: object) -> bool:
    """True or False, Python's or numpy's, as Python's; raises ``ValueError`` for anything else."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise ValueError(f"{name} must be True or False, got {value!r}")


def check_choice(name: str, value: object, choices: Iterable[Choice]) -> Choice:
    """One of several values, mostly strings; raises ``ValueError`` otherwise."""
    for choice in choices:
        if isinstance(value, type(choice)) and value == choice:
            return choice
    raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")


def suggestion(name: str, choices: Iterable[str]) -> str:
    """A hint at the most similar choices."""
    by_lower = {choice.lower(): choice for choice in choices}
    close = get_close_matches(name.lower(), by_lower, n=3, cutoff=SIMILAR)
    return f"did you mean {' or '.join(repr(by_lower[match]) for match in close)}? " if close else ""


def takes_masks(model: Any) -> bool:
    """Whether ``predict`` of a model, or of an algorithm, takes action masks."""
    return "action_masks" in inspect.signature(model.predict).parameters
