"""Reductions of many values to one."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from velora_sb3._validation import check_integer, check_number

NUMERIC = ("mean", "min", "max", "sum", "lifetime_sum", "ema")
REDUCTIONS = (*NUMERIC, "item", "item_series")
EMA_COEFF = 0.01


@dataclass
class Reduction:
    """The values of one key and their reduction.

    Without a window only the running result is kept; ``item_series`` keeps the values since the last row. NaN is left
    out, as one would spoil a maximum or a moving average for good; a reduction of nothing but NaN is NaN.

    Attributes:
        name: The key, for errors.
        reduce: One of ``REDUCTIONS``.
        window: Number of latest values to reduce; None for all.
        ema_coeff: Weight of a new value in the moving average.
        clear_on_reduce: Whether a row clears the values.
        fresh: Whether a value was logged since the last row.
        written: The value in the last row.
    """

    name: str
    reduce: str
    window: int | None
    ema_coeff: float
    clear_on_reduce: bool
    fresh: bool = False
    latest: deque[Any] = field(default_factory=deque)
    folded: Any = None
    count: int = 0
    written: Any = None

    def push(self, value: Any) -> None:
        """Add a value."""
        if self.reduce in NUMERIC:
            try:
                value = float(value)
            except (TypeError, ValueError) as error:
                raise TypeError(
                    f"{self.name}: reduce={self.reduce!r} needs a number, got {_short(value)}; for images and figures "
                    "pass reduce='item' and SB3's Image or Figure"
                ) from error
        self.fresh = True
        if self.window is not None or self.reduce == "item_series":
            if len(self.latest) == self.window:
                self.latest.popleft()
            self.latest.append(value)
        elif self.count == 0 or (self.reduce in NUMERIC and math.isnan(self.folded)):
            self.folded, self.count = value, 1
        elif not (self.reduce in NUMERIC and math.isnan(value)):
            self.folded, self.count = self._fold(self.folded, value), self.count + 1

    def peek(self) -> Any:
        """The reduced value."""
        if self.window is None and self.reduce != "item_series":
            if self.count == 0:
                return self.written
            return self.folded / self.count if self.reduce == "mean" else self.folded
        if not self.latest:
            return self.written
        if self.reduce == "item_series":
            return list(self.latest)
        if self.reduce == "item":
            return self.latest[-1]
        with np.errstate(invalid="ignore"):  # infinities of both signs
            return float(getattr(np, self.reduce)(without_nan(self.latest)))

    def clear(self) -> None:
        """Mark the value as written."""
        self.fresh, self.written = False, self.peek()
        if self.clear_on_reduce:
            self.latest.clear()
            self.folded, self.count = None, 0

    def _fold(self, before: Any, value: Any) -> Any:
        if self.reduce in ("mean", "sum", "lifetime_sum"):
            return before + value
        if self.reduce == "ema":
            return (1 - self.ema_coeff) * before + self.ema_coeff * value
        return {"min": min, "max": max}[self.reduce](before, value) if self.reduce != "item" else value


def without_nan(values: Iterable[float]) -> list[float]:
    """The values that are not NaN; all if there are no others."""
    values = list(values)
    return [value for value in values if not math.isnan(value)] or values


def new_reduction(
    name: str, reduce: str | None, window: int | None, ema_coeff: float | None, clear_on_reduce: bool | None
) -> Reduction:
    """A reduction from a user's settings."""
    if reduce is None or (reduce == "mean" and ema_coeff is not None):
        reduce = "mean" if ema_coeff is None else "ema"
    if reduce not in REDUCTIONS:
        raise ValueError(f"{name}: reduce must be one of {', '.join(REDUCTIONS)}, got {reduce!r}")
    if window is not None:
        window = check_integer(f"{name}: window", window)
    if window is not None and reduce in ("ema", "lifetime_sum"):
        raise ValueError(f"{name}: reduce={reduce!r} covers all values and takes no window, got window={window!r}")
    if ema_coeff is not None and reduce != "ema":
        raise ValueError(f"{name}: ema_coeff={ema_coeff!r} needs reduce='ema', got reduce={reduce!r}")
    if ema_coeff is not None:
        ema_coeff = check_number(f"{name}: ema_coeff", ema_coeff, above=0, most=1)
    if clear_on_reduce is None:
        clear_on_reduce = window is None and reduce not in ("ema", "lifetime_sum", "item")
    if reduce == "item_series" and window is None:
        clear_on_reduce = True  # otherwise the list would grow without bound
    return Reduction(name, reduce, window, EMA_COEFF if ema_coeff is None else ema_coeff, clear_on_reduce)


def _short(value: Any) -> str:
    return f"an array of shape {value.shape}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
