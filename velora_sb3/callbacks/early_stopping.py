"""Stop when the reward has reached its target, and held it."""

from __future__ import annotations

import warnings
from collections import deque
from numbers import Real
from typing import Any

import numpy as np
from sb3_contrib import ARS

from velora_sb3.callbacks.base.callback import VeloraCallback
from velora_sb3.callbacks.base.episodes import Episode


class EarlyStopping(VeloraCallback):
    """Stops training once the return has reached a target several times in a row.

    In a list of callbacks it judges the episodes of training, in the order in which they end. As
    ``callback_after_eval`` of an ``EvalCallback`` it judges the mean reward of each evaluation instead; as
    ``callback_on_new_best`` of those evaluations only that were the best so far.

    When the target is reached, the logger gets ``early_stopping/reward`` and ``early_stopping/timesteps``.

    ARS ignores callbacks that want to stop. There it warns, and training goes on.

    Args:
        target: The return to reach, in the environment's own reward, before any normalization.
        patience: How many times in a row it must be reached.
        window: Number of episodes (or evaluations) over which the return is averaged; 1 for each by itself.
        verbose: 0 for silence, 1 to print what it does.

    Attributes:
        stopped_early: Whether it has stopped training.
        reason: How the target was reached, in a sentence; None as long as it was not.
        reward: The return, or moving average, that was judged last; None before the first.

    Raises:
        ValueError: If the target is no finite number, or patience or window is below 1.
    """

    def __init__(self, target: float, *, patience: int = 3, window: int = 1, verbose: int = 0) -> None:
        super().__init__(verbose)
        given: object = target
        if isinstance(given, bool) or not isinstance(given, Real) or not np.isfinite(float(given)):
            raise ValueError(f"target must be a finite number, got {target!r}")
        for name, value in (("patience", patience), ("window", window)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
        self.target, self.patience, self.window = float(target), patience, window
        self.stopped_early = False
        self.reason: str | None = None
        self.reward: float | None = None
        self._hits = 0
        self._latest: deque[float] = deque(maxlen=window)

    def config(self) -> tuple[str, dict[str, Any]]:
        """Name and settings."""
        return type(self).__name__, {"target": self.target, "patience": self.patience, "window": self.window}

    def info(self) -> str:
        """What it waits for."""
        judged = "return" if self.window == 1 else f"mean return of {self.window}"
        return f"EarlyStopping: stops when the {judged} reaches {self.target:g} {self.patience} times in a row"

    def state_dict(self) -> dict[str, Any]:
        """Adds how often in a row the target was reached, and the window."""
        own = {"hits": self._hits, "latest": list(self._latest), "stopped_early": self.stopped_early}
        return {**super().state_dict(), **own, "reason": self.reason, "reward": self.reward}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        super().load_state_dict(state)
        self._hits, self.stopped_early = int(state["hits"]), bool(state["stopped_early"])
        self.reason, self.reward = state["reason"], state["reward"]
        self._latest = deque(state["latest"], maxlen=self.window)

    def _on_start(self) -> None:
        if self.is_new_run:
            self._latest.clear()
            self.reward = None
        if self.is_new_run or self.reason is not None:  # learn() after a stop is a wish to go on
            self._hits, self.stopped_early, self.reason = 0, False, None
        if isinstance(self.model, ARS):
            warnings.warn("ARS ignores callbacks that want to stop: EarlyStopping only reports", stacklevel=2)

    def _on_every_step(self) -> bool:
        evaluation = self.evaluation()
        return evaluation is None or self._judge(evaluation.last_mean_reward, "the evaluation")

    def _on_episode(self, episode: Episode) -> bool:
        return self.evaluation() is not None or self._judge(episode.episode_return, f"episode {episode.number}")

    def _judge(self, value: float, what: str) -> bool:
        if self.reason is not None:  # further episodes that end with the same step, or an algorithm that goes on
            return False
        self._latest.append(float(value))
        if len(self._latest) < self.window:
            return True
        self.reward = float(np.mean(self._latest))
        self._hits = self._hits + 1 if self.reward >= self.target else 0
        if self._hits < self.patience:
            return True
        self.stopped_early = not isinstance(self.model, ARS)
        times = "once" if self.patience == 1 else f"{self.patience} times in a row"
        steps = self.model.num_timesteps
        self.reason = f"the return reached {self.target:g} {times}: {self.reward:g} at {what}, {steps} timesteps"
        self.logger.record("early_stopping/reward", self.reward)
        self.logger.record("early_stopping/timesteps", steps)
        self.logger.dump(steps)
        if self.verbose >= 1:
            print(f"EarlyStopping: {self.reason}")
        return False
