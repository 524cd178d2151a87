"""The duration, the returns and the latest logged values of a run."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Any

from stable_baselines3.common.logger import Logger

from velora_sb3.callbacks.base.logged_values import LoggedValues
from velora_sb3.callbacks.checkpointing.return_statistics import ReturnStatistics

LOSS_PREFIX = "train/"


class RunRecord:
    """The statistics of a run, over all calls of ``learn()``.

    Attributes:
        returns: The returns of its episodes.
        logged: The latest values of SB3's logger.
    """

    def __init__(self) -> None:
        self.returns, self.logged = ReturnStatistics(), LoggedValues()
        self._seconds_before = 0.0  # of earlier calls of learn()
        self._since: float | None = None  # when the current one started

    def start(self, logger: Logger) -> None:
        """Training starts."""
        self._since = time.monotonic()
        self.logged.follow(logger)

    def stop(self) -> None:
        """Training has ended. May be called more than once."""
        self._seconds_before, self._since = self.seconds(), None
        self.logged.values = self.logged.latest()
        self.logged.leave()

    def seconds(self) -> float:
        """Duration of training so far."""
        running = 0.0 if self._since is None else time.monotonic() - self._since
        return round(self._seconds_before + running, 3)

    def losses(self) -> dict[str, float]:
        """The latest losses that ``train()`` logged, without their prefix."""
        logged = self.logged.latest().items()
        return {n.removeprefix(LOSS_PREFIX): value for n, value in logged if n.startswith(LOSS_PREFIX) and "loss" in n}

    def summary(self) -> dict[str, Any]:
        """Seconds, the current time, returns and losses, by name."""
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        return {"seconds": self.seconds(), "time": now, **self.returns.summary(), "losses": self.losses()}

    def state_dict(self) -> dict[str, Any]:
        """The state, as plain data."""
        return {"seconds": self.seconds(), "returns": self.returns.state_dict(), "logged": self.logged.latest()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state."""
        self._seconds_before = float(state["seconds"])
        self.returns.load_state_dict(state["returns"])
        self.logged.values = dict(state["logged"])
