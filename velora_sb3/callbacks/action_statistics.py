"""Running sums over actions, in constant memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from velora_sb3.plotting.actions import bar_edges, choices_of

BINS = 40
MAX_NAMED = 32  # dimensions or choices that are logged one by one; nobody reads hundreds
AT_BOUND = 1e-3  # of the range: closer to a bound counts as at the bound


class ActionStatistics:
    """Statistics of the actions of one action space.

    Attributes:
        count: Number of actions.
        choice_names: Names of the choices of a ``Discrete`` space; None for other spaces.
    """

    def __init__(self, space: spaces.Space[Any], names: Sequence[str] | None) -> None:
        self.continuous = isinstance(space, spaces.Box)
        self.count = 0
        if isinstance(space, spaces.Box):
            self._low, self._high = (np.ravel(bound).astype(np.float64) for bound in (space.low, space.high))
            sizes = [BINS] * len(self._low)
        else:
            self._choices = choices_of(space)
            sizes = [len(choices) for choices in self._choices]
        expected = sizes[0] if isinstance(space, spaces.Discrete) else len(sizes)
        if names is not None and len(names) != expected:
            raise ValueError(f"names must have {expected} entries for {space}, got {len(names)}: {list(names)!r}")
        self.names = [str(number) for number in range(expected)] if names is None else list(names)
        self.choice_names = self.names if isinstance(space, spaces.Discrete) else None
        self._counts = [np.zeros(size, dtype=np.int64) for size in sizes]  # by dimension
        # One row each for sum, sum of squares, minimum, maximum, steps at a bound, steps at 0, sum of magnitudes.
        self._sums = np.zeros((7, len(sizes)))
        self._sums[2], self._sums[3] = np.inf, -np.inf

    def add(self, actions: np.ndarray) -> None:
        """Add the actions of one step ``(n_envs, ...)``."""
        rows = np.asarray(actions).reshape(len(actions), -1)  # (n_envs, D)
        self.count += len(rows)
        if self.continuous:
            self._add_continuous(rows.astype(np.float64))
            return
        for dimension, counts in enumerate(self._counts):
            np.add.at(counts, rows[:, dimension].astype(np.int64) - self._choices[dimension].start, 1)

    def merge(self, other: ActionStatistics) -> None:
        """Add the sums of another one of the same space."""
        self.count += other.count
        for counts, more in zip(self._counts, other._counts, strict=True):
            counts += more
        low, high = np.minimum(self._sums[2], other._sums[2]), np.maximum(self._sums[3], other._sums[3])
        self._sums += np.where(np.isfinite(other._sums), other._sums, 0.0)
        self._sums[2], self._sums[3] = low, high

    def summary(self) -> dict[str, float]:
        """The statistics by their names in the log."""
        if self.count == 0:
            return {}
        return self._summary_continuous() if self.continuous else self._summary_discrete()

    def histograms(self) -> list[tuple[str, np.ndarray, np.ndarray]]:
        """For each dimension its name, the edges of its bars ``(bars + 1,)`` and the share of each ``(bars,)``."""
        found = []
        for dimension, counts in enumerate(self._counts):
            if self.continuous:
                edges = np.linspace(self._low[dimension], self._high[dimension], len(counts) + 1)
            else:
                edges = bar_edges(self._choices[dimension])
            name = "action" if self.choice_names else self.names[dimension]
            found.append((name, edges, counts / max(self.count, 1)))
        return found

    def state_dict(self) -> dict[str, Any]:
        """All sums, as plain data."""
        sums = [[float(value) if np.isfinite(value) else None for value in row] for row in self._sums]
        return {"count": self.count, "counts": [counts.tolist() for counts in self._counts], "sums": sums}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore sums."""
        self.count = int(state["count"])
        self._counts = [np.array(counts, dtype=np.int64) for counts in state["counts"]]
        empty = {2: np.inf, 3: -np.inf}
        for row, values in enumerate(state["sums"]):
            self._sums[row] = [empty.get(row, 0.0) if value is None else value for value in values]

    def _add_continuous(self, rows: np.ndarray) -> None:
        # Centered in the range, as squares of large numbers would lose the deviation's digits.
        centered, width = rows - (self._low + self._high) / 2, self._high - self._low
        self._sums[0] += centered.sum(axis=0)
        self._sums[1] += (centered**2).sum(axis=0)
        self._sums[2] = np.minimum(self._sums[2], rows.min(axis=0))
        self._sums[3] = np.maximum(self._sums[3], rows.max(axis=0))
        self._sums[4] += (np.abs(centered) >= width * (0.5 - AT_BOUND)).sum(axis=0)
        self._sums[5] += (rows == 0).sum(axis=0)
        self._sums[6] += np.abs(rows).sum(axis=0)
        bins = np.clip((rows - self._low) / np.maximum(width, 1e-300) * BINS, 0, BINS - 1)
        for dimension, counts in enumerate(self._counts):
            column = bins[:, dimension]
            np.add.at(counts, column[~np.isnan(column)].astype(np.int64), 1)

    def _summary_continuous(self) -> dict[str, float]:
        total, squares, low, high, at_bounds, zeros, magnitude = self._sums
        mean = total / self.count
        deviation = np.sqrt(np.maximum(squares / self.count - mean**2, 0.0))
        columns = {
            "mean": mean + (self._low + self._high) / 2,
            "std": deviation,
            "min": low,
            "max": high,
            "at_bounds": at_bounds / self.count,
        }
        found = {
            "magnitude": float(magnitude.mean() / self.count),
            "zeros": float(zeros.mean() / self.count),
            "at_bounds": float(at_bounds.mean() / self.count),
        }
        if len(mean) <= MAX_NAMED:
            for column, values in columns.items():
                found |= {f"{name}_{column}": float(value) for name, value in zip(self.names, values, strict=True)}
        return found

    def _summary_discrete(self) -> dict[str, float]:
        found: dict[str, float] = {}
        entropies = []
        for dimension, counts in enumerate(self._counts):
            shares = counts / self.count
            entropies.append(float(-np.sum(shares[shares > 0] * np.log(shares[shares > 0]))))
            if sum(map(len, self._counts)) <= MAX_NAMED:
                name = self.names[dimension]
                keys = self.choice_names or [f"{name}_is_{choice}" for choice in self._choices[dimension]]
                found |= {f"{key}_share": float(share) for key, share in zip(keys, shares, strict=True)}
        if not self.choice_names and len(entropies) <= MAX_NAMED:
            found |= {f"{name}_entropy": value + 0.0 for name, value in zip(self.names, entropies, strict=True)}
        return {**found, "entropy": float(np.mean(entropies)) + 0.0}
