"""Statistics of a run's returns."""

from __future__ import annotations

import math
from typing import Any

RECENT = 10


class ReturnStatistics:
    """Best, average and latest returns of the episodes so far. Best and averages leave out NaN.

    Attributes:
        best: The highest return; None before the first episode.
        recent: The last ten returns, oldest first.
        count: Number of returns, without NaN.
    """

    def __init__(self) -> None:
        self.best: float | None = None
        self.recent: list[float] = []
        self._sum, self.count = 0.0, 0

    def add(self, episode_return: float) -> None:
        """Add an episode."""
        self.recent = [*self.recent, episode_return][-RECENT:]
        if not math.isnan(episode_return):
            self.best = episode_return if self.best is None else max(self.best, episode_return)
            self._sum, self.count = self._sum + episode_return, self.count + 1

    @property
    def average(self) -> float | None:
        """The mean return of all episodes; None before the first."""
        return self._sum / self.count if self.count else None

    @property
    def recent_average(self) -> float | None:
        """The mean of the latest returns; None before the first episode."""
        known = [value for value in self.recent if not math.isnan(value)]
        return sum(known) / len(known) if known else None

    def summary(self) -> dict[str, Any]:
        """The numbers, by name."""
        return {"best_return": self.best, "average_return": self.average, "recent_returns": self.recent}

    def state_dict(self) -> dict[str, Any]:
        """The state, as plain data."""
        return {"best": self.best, "recent": self.recent, "sum": self._sum, "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state."""
        self.best, self.recent = state["best"], list(state["recent"])
        self._sum, self.count = float(state["sum"]), int(state["count"])
