"""Sums over actions: what was done how often, in memory that does not grow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

BINS = 40
MOST_NAMED = 32  # dimensions or choices with numbers of their own; a log of hundreds is read by nobody
AT_BOUND = 1e-3  # of the range: nearer to a bound counts as being there


class ActionStatistics:
    """Statistics of the actions of one action space.

    Attributes:
        count: Number of actions.
    """

    def __init__(self, space: spaces.Space[Any], names: Sequence[str] | None) -> None:
        self.continuous = isinstance(space, spaces.Box)
        self.count = 0
        if isinstance(space, spaces.Box):
            self._low, self._high = (np.ravel(bound).astype(np.float64) for bound in (space.low, space.high))
            sizes = [BINS] * len(self._low)
        else:
            sizes, self._first = _choices(space)
        expected = sizes[0] if isinstance(space, spaces.Discrete) else len(sizes)
        if names is not None and len(names) != expected:
            raise ValueError(f"names must be {expected} for {space}, got {len(names)}: {list(names)!r}")
        self.names = [str(number) for number in range(expected)] if names is None else list(names)
        self._discrete = isinstance(space, spaces.Discrete)
        self._counts = [np.zeros(size, dtype=np.int64) for size in sizes]  # by dimension
        # One row each for sum, sum of squares, minimum, maximum, steps at a bound, steps at 0, sum of magnitudes.
        self._sums = np.zeros((7, len(sizes)))
        self._sums[2], self._sums[3] = np.inf, -np.inf

    def take(self, actions: np.ndarray) -> None:
        """Take in the actions of one step.

        Args:
            actions: One for each environment ``(n_envs, ...)``.
        """
        rows = np.asarray(actions).reshape(len(actions), -1)  # (n_envs, D)
        self.count += len(rows)
        if self.continuous:
            self._take_continuous(rows.astype(np.float64))
            return
        for dimension, counts in enumerate(self._counts):
            np.add.at(counts, rows[:, dimension].astype(np.int64) - self._first[dimension], 1)

    def add(self, other: ActionStatistics) -> None:
        """Take in what another one of the same space has."""
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
        """How often each dimension had which values.

        Returns:
            For each dimension its name, where its bars begin and end ``(bars + 1,)``, the share of each ``(bars,)``.
        """
        found = []
        for dimension, counts in enumerate(self._counts):
            if self.continuous:
                edges = np.linspace(self._low[dimension], self._high[dimension], len(counts) + 1)
            else:
                edges = np.arange(len(counts) + 1) + self._first[dimension] - 0.5
            name = "action" if self._discrete else self.names[dimension]
            found.append((name, edges, counts / max(self.count, 1)))
        return found

    def state_dict(self) -> dict[str, Any]:
        """All sums, as plain data."""
        sums = [[float(value) if np.isfinite(value) else None for value in row] for row in self._sums]
        return {"count": self.count, "counts": [counts.tolist() for counts in self._counts], "sums": sums}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from sums."""
        self.count = int(state["count"])
        self._counts = [np.array(counts, dtype=np.int64) for counts in state["counts"]]
        nothing = {2: np.inf, 3: -np.inf}
        for row, values in enumerate(state["sums"]):
            self._sums[row] = [nothing.get(row, 0.0) if value is None else value for value in values]

    def _take_continuous(self, rows: np.ndarray) -> None:
        # Around the middle of the range: squares of large numbers would eat the deviation.
        centered, width = rows - (self._low + self._high) / 2, self._high - self._low
        self._sums[0] += centered.sum(axis=0)
        self._sums[1] += (centered**2).sum(axis=0)
        self._sums[2] = np.minimum(self._sums[2], rows.min(axis=0))
        self._sums[3] = np.maximum(self._sums[3], rows.max(axis=0))
        self._sums[4] += (np.abs(centered) >= width * (0.5 - AT_BOUND)).sum(axis=0)
        self._sums[5] += (rows == 0).sum(axis=0)
        self._sums[6] += np.abs(rows).sum(axis=0)
        bins = np.clip((rows - self._low) / np.maximum(width, 1e-300) * BINS, 0, BINS - 1).astype(np.int64)
        for dimension, counts in enumerate(self._counts):
            np.add.at(counts, bins[:, dimension], 1)

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
        if len(mean) <= MOST_NAMED:
            for column, values in columns.items():
                found |= {f"{name}_{column}": float(value) for name, value in zip(self.names, values, strict=True)}
        return found

    def _summary_discrete(self) -> dict[str, float]:
        found: dict[str, float] = {}
        entropies = []
        for dimension, counts in enumerate(self._counts):
            shares = counts / self.count
            entropies.append(float(-np.sum(shares[shares > 0] * np.log(shares[shares > 0]))))
            if sum(map(len, self._counts)) <= MOST_NAMED:
                if self._discrete:
                    found |= {f"{name}_share": float(share) for name, share in zip(self.names, shares, strict=True)}
                else:
                    name, first = self.names[dimension], self._first[dimension]
                    found |= {f"{name}_is_{first + choice}_share": float(share) for choice, share in enumerate(shares)}
        if not self._discrete and len(entropies) <= MOST_NAMED:
            found |= {f"{name}_entropy": value + 0.0 for name, value in zip(self.names, entropies, strict=True)}
        return {**found, "entropy": float(np.mean(entropies)) + 0.0}


def _choices(space: spaces.Space[Any]) -> tuple[list[int], list[int]]:
    """The number of choices in each dimension, and the number of the first one."""
    if isinstance(space, spaces.Discrete):
        return [int(space.n)], [int(space.start)]
    if isinstance(space, spaces.MultiDiscrete):
        return np.ravel(space.nvec).astype(int).tolist(), np.ravel(space.start).astype(int).tolist()
    if isinstance(space, spaces.MultiBinary):
        size = int(np.prod(space.shape))
        return [2] * size, [0] * size
    raise ValueError(f"actions of {space} cannot be analyzed: Box, Discrete, MultiDiscrete and MultiBinary can")
