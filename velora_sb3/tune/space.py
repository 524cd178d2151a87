"""Search spaces in plain words: ``{"learning_rate": {"loguniform": [1e-5, 1e-2]}}``."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

KINDS = ("uniform", "loguniform", "int", "choice")
FACTOR, STEP = 1.25, 0.2  # of a perturbation


@dataclass(frozen=True)
class Range:
    """What a setting is drawn from.

    Attributes:
        kind: ``uniform`` or ``loguniform`` between two numbers, ``int`` from the first to the last, or ``choice``.
        values: The two numbers, or the choices.
    """

    kind: str
    values: tuple[Any, ...]

    def domain(self) -> Any:
        """The same for Ray Tune."""
        from ray import tune

        if self.kind == "choice":
            return tune.choice([_hashable(value) for value in self.values])
        if self.kind == "int":
            return tune.randint(self.values[0], self.values[1] + 1)
        return getattr(tune, self.kind)(*self.values)

    def value(self, drawn: Any) -> Any:
        """A drawn value as it stands in the file; within the limits."""
        if self.kind == "choice":
            return next(value for value in self.values if _hashable(value) == drawn)
        low, high = self.values
        return min(max(round(drawn), low), high) if self.kind == "int" else float(min(max(drawn, low), high))

    def perturbed(self, value: Any) -> Any:
        """A value near another one, within the limits: by a fifth of the range, or by a factor if it is logarithmic."""
        low, high = self.values
        sign = random.choice((-1, 1))
        if self.kind == "loguniform":
            return self.value(value * FACTOR**sign)
        return self.value(value + sign * max((high - low) * STEP, 1 if self.kind == "int" else 0))


def parse_space(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Range]]:
    """Names, joined by dots, and ranges of a nested mapping; raises ``ValueError`` that names the key."""
    for name, value in mapping.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and len(value) == 1 and next(iter(value)) in KINDS:
            ((kind, values),) = value.items()
            yield key, _range(key, kind, values)
        elif name == "policy_kwargs" and isinstance(value, Mapping):
            yield from parse_space(value, f"{key}.")
        else:
            found = f"the keys {', '.join(map(str, value))}" if isinstance(value, Mapping) else json.dumps(value)
            raise ValueError(
                f"{key} must be one of {', '.join(KINDS)} with its values, as in {{uniform: [0, 1]}}, got {found}"
            )


def _range(key: str, kind: str, values: Any) -> Range:
    if not isinstance(values, list | tuple) or not values:
        raise ValueError(f"{key}: {kind} needs a list, got {values!r}")
    if kind == "choice":
        return Range(kind, tuple(values))
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(values) != 2 or len(numbers) != 2 or not all(math.isfinite(value) for value in numbers):
        raise ValueError(f"{key}: {kind} needs two numbers [lowest, highest], got {values!r}")
    if kind == "int" and not all(float(value).is_integer() for value in numbers):
        raise ValueError(f"{key}: int needs two integers [lowest, highest], got {values!r}")
    low, high = (int(value) if kind == "int" else float(value) for value in numbers)
    if not low < high:
        raise ValueError(f"{key}: the lowest value must be below the highest, got {values!r}")
    if kind == "loguniform" and low <= 0:
        raise ValueError(f"{key}: loguniform needs values above 0, got {values!r}")
    return Range(kind, (low, high))


def _hashable(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value
