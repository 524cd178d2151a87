"""Stop training when the return reaches a target and stays there."""

from __future__ import annotations

import math
import warnings
from collections import deque
from typing import Any

import numpy as np
from sb3_contrib import ARS

from velora_sb3._validation import check_integer, check_number
from velora_sb3.callbacks.base.callback import VeloraCallback
from velora_sb3.callbacks.base.episodes import Episode

EQUAL = 1e-6  # relative and absolute


class EarlyStopping(VeloraCallback):
    """Stops training after ``patience`` consecutive episodes whose return reaches a target.

    In a list of callbacks it judges training episodes in the order in which they end. As ``callback_after_eval`` of an
    ``EvalCallback`` it judges the mean reward of each evaluation instead; as ``callback_on_new_best``, of each new best
    evaluation only. SB3's ``StopTrainingOnRewardThreshold``, by contrast, stops at the first good evaluation.

    When it stops training, it logs ``early_stopping/reward`` and ``early_stopping/timesteps``.

    ARS ignores the return value of callbacks: there it warns and only reports.

    Args:
        target: The return to reach, as in SB3's ``rollout/ep_rew_mean``, before any normalization. A return counts if
            it is equal within a millionth, as rewards are single-precision numbers and ``Monitor`` rounds.
        patience: Number of consecutive episodes (or evaluations) that must reach it.
        window: Number of episodes (or evaluations) in the moving average that is judged; 1 for single returns.
        verbose: 0 for no output, 1 to print what it does.

    Attributes:
        stopped_early: Whether it has stopped training.
        reason: Why it stopped, in a sentence; None before.
        reward: The latest judged return or moving average; None before the first.

    Raises:
        ValueError: If target is not a finite number, or patience or window is not an integer of at least 1.
    """

    def __init__(self, target: float, *, patience: int = 3, window: int = 1, verbose: int = 0) -> None:
        super().__init__(verbose)
        self.target = check_number("target", target)
        self.patience, self.window = check_integer("patience", patience), check_integer("window", window)
        self.stopped_early = False
        self.reason: str | None = None
        self.reward: float | None = None
        self._hits = 0
        self._latest: deque[float] = deque(maxlen=self.window)

    def config(self) -> tuple[str, dict[str, Any]]:
        """Name and settings."""
        return type(self).__name__, {"target": self.target, "patience": self.patience, "window": self.window}

    def info(self) -> str:
        """When it stops training."""
        values = "episodes" if self.evaluation() is None else "evaluations"
        judged = "return" if self.window == 1 else f"mean return over {self.window} {values}"
        times = "once" if self.patience == 1 else f"({self.patience} times in a row)"
        return f"EarlyStopping: stops when the {judged} reaches {self.target:g} {times}"

    def state_dict(self) -> dict[str, Any]:
        """Adds the consecutive hits and the moving average."""
        own = {"hits": self._hits, "latest": list(self._latest), "stopped_early": self.stopped_early}
        return {**super().state_dict(), **own, "reason": self.reason, "reward": self.reward}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state."""
        super().load_state_dict(state)
        self._hits, self.stopped_early = int(state["hits"]), bool(state["stopped_early"])
        self.reason, self.reward = state["reason"], state["reward"]
        self._latest = deque(state["latest"], maxlen=self.window)

    def _on_start(self) -> None:
        if self.is_new_run:
            self._latest.clear()
            self.reward = None
        if self.is_new_run or self.reason is not None:  # learn() after a stop continues on purpose
            self._hits, self.stopped_early, self.reason = 0, False, None
        if isinstance(self.model, ARS):
            warnings.warn("ARS cannot be stopped by a callback: EarlyStopping only reports", stacklevel=2)

    def _on_every_step(self) -> bool:
        evaluation = self.evaluation()
        return evaluation is None or self._judge(evaluation.last_mean_reward, "the evaluation")

    def _on_episode(self, episode: Episode) -> bool:
        return self.evaluation() is not None or self._judge(episode.episode_return, f"episode {episode.number}")

    def _judge(self, value: float, what: str) -> bool:
        if self.reason is not None:  # more episodes of the same step, or ARS
            return False
        self._latest.append(float(value))
        if len(self._latest) < self.window:
            return True
        with np.errstate(invalid="ignore"):  # infinite returns
            self.reward = float(np.mean(self._latest))
        reached = self.reward >= self.target or math.isclose(self.reward, self.target, rel_tol=EQUAL, abs_tol=EQUAL)
        self._hits = self._hits + 1 if reached else 0
        if self._hits < self.patience:
            return True
        self.stopped_early = not isinstance(self.model, ARS)
        times = "once" if self.patience == 1 else f"({self.patience} times in a row)"
        steps = self.model.num_timesteps
        self.reason = f"the return reached {self.target:g} {times}: {self.reward:g} in {what}, at timestep {steps}"
        self.logger.record("early_stopping/reward", self.reward)
        self.logger.record("early_stopping/timesteps", steps)
        self.logger.dump(steps)
        if self.verbose >= 1:
            print(f"EarlyStopping: {self.reason}")
        return False
