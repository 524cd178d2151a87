"""Many values that become one."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

NUMERIC = ("mean", "min", "max", "sum", "lifetime_sum", "ema")
REDUCTIONS = (*NUMERIC, "item", "item_series")
EMA_COEFF = 0.01


@dataclass
class Reduction:
    """Values under one name, and what becomes of them.

    Without a window no values are kept but what their reduction needs; ``item_series`` keeps those since the last row.

    Attributes:
        name: Their name, for errors.
        reduce: One of ``REDUCTIONS``.
        window: Number of the latest values that count; None for all.
        ema_coeff: Weight of a new value in a moving average.
        clear_on_reduce: Whether values are forgotten once they were written.
        fresh: Whether a value came since the last row.
        written: What the last row got.
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
        """Take in a value."""
        if self.reduce in NUMERIC:
            try:
                value = float(value)
            except (TypeError, ValueError) as error:
                raise TypeError(
                    f"{self.name}: reduce={self.reduce!r} takes numbers, got {_short(value)}: pass reduce='item', and "
                    "SB3's Image or Figure for a picture"
                ) from error
        self.fresh = True
        if self.window is not None or self.reduce == "item_series":
            if len(self.latest) == self.window:
                self.latest.popleft()
            self.latest.append(value)
        else:
            self.folded = value if self.count == 0 else self._fold(self.folded, value)
            self.count += 1

    def peek(self) -> Any:
        """What the values come to."""
        if self.window is None and self.reduce != "item_series":
            if self.count == 0:
                return self.written
            return self.folded / self.count if self.reduce == "mean" else self.folded
        if not self.latest:
            return self.written
        if self.reduce == "item_series":
            return list(self.latest)
        return self.latest[-1] if self.reduce == "item" else float(getattr(np, self.reduce)(self.latest))

    def clear(self) -> None:
        """Note that the value was written."""
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


def new_reduction(
    name: str, reduce: str | None, window: int | None, ema_coeff: float | None, clear_on_reduce: bool | None
) -> Reduction:
    """A reduction from what a user gave."""
    if reduce is None or (reduce == "mean" and ema_coeff is not None):
        reduce = "mean" if ema_coeff is None else "ema"
    if reduce not in REDUCTIONS:
        raise ValueError(f"{name}: reduce must be one of {', '.join(REDUCTIONS)}, got {reduce!r}")
    if window is not None and (isinstance(window, bool) or not isinstance(window, int) or window < 1):
        raise ValueError(f"{name}: window must be a whole number of at least 1, got {window!r}")
    if window is not None and reduce in ("ema", "lifetime_sum"):
        raise ValueError(f"{name}: reduce={reduce!r} looks at all values, so leave window={window!r} out")
    if ema_coeff is not None and (reduce != "ema" or not 0 < ema_coeff <= 1):
        raise ValueError(f"{name}: ema_coeff must be above 0 and at most 1, and for 'ema' only, got {ema_coeff!r}")
    if clear_on_reduce is None:
        clear_on_reduce = window is None and reduce not in ("ema", "lifetime_sum", "item")
    if reduce == "item_series" and window is None:
        clear_on_reduce = True  # or it would grow for ever
    return Reduction(name, reduce, window, EMA_COEFF if ema_coeff is None else ema_coeff, clear_on_reduce)


def _short(value: Any) -> str:
    return f"an array of shape {value.shape}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
