"""Statistics of a run's returns."""

from __future__ import annotations

from typing import Any

RECENT = 10


class ReturnStatistics:
    """Best, average and latest returns of the episodes so far.

    Attributes:
        best: The highest return; None before the first episode.
        recent: The last ten returns, oldest first.
    """

    def __init__(self) -> None:
        self.best: float | None = None
        self.recent: list[float] = []
        self._sum, self._count = 0.0, 0

    def add(self, episode_return: float) -> None:
        """Add an episode."""
        self.best = episode_return if self.best is None else max(self.best, episode_return)
        self.recent = [*self.recent, episode_return][-RECENT:]
        self._sum, self._count = self._sum + episode_return, self._count + 1

    @property
    def average(self) -> float | None:
        """The mean return of all episodes; None before the first."""
        return self._sum / self._count if self._count else None

    @property
    def recent_average(self) -> float | None:
        """The mean of the latest returns; None before the first episode."""
        return sum(self.recent) / len(self.recent) if self.recent else None

    def summary(self) -> dict[str, Any]:
        """The numbers, by name."""
        return {"best_return": self.best, "average_return": self.average, "recent_returns": self.recent}

    def state_dict(self) -> dict[str, Any]:
        """The state, as plain data."""
        return {"best": self.best, "recent": self.recent, "sum": self._sum, "count": self._count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state."""
        self.best, self.recent = state["best"], list(state["recent"])
        self._sum, self._count = float(state["sum"]), int(state["count"])
