"""A progress bar on a terminal, lines of text elsewhere."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.type_aliases import TrainFrequencyUnit

from velora_sb3._validation import check_number
from velora_sb3.callbacks.base.callback import VeloraCallback
from velora_sb3.callbacks.base.episodes import Episode
from velora_sb3.callbacks.progress_displays import Display, PlainLines, TerminalBar

SPEED_WINDOW_S = 30.0
RETURN_WINDOW = 10


class ProgressBar(VeloraCallback):
    """Shows steps, steps per second, episode return and remaining time.

    The return is the mean over the last ten episodes, before ``VecNormalize``; no ``Monitor`` is needed. The bar is
    closed when training ends, or by :meth:`close`.

    Args:
        refresh_rate: Redraws per second on a terminal. Elsewhere a line is printed at each tenth of training.
        show_metrics: Whether to show steps per second and the return.

    Raises:
        ValueError: If refresh_rate is not a finite number above 0.
    """

    def __init__(self, refresh_rate: float = 4.0, show_metrics: bool = True) -> None:
        super().__init__()
        self.refresh_rate = check_number("refresh_rate", refresh_rate, above=0)
        self.show_metrics = show_metrics
        self._display: Display | None = None
        self._returns: deque[float] = deque(maxlen=RETURN_WINDOW)

    def config(self) -> tuple[str, dict[str, Any]]:
        """Name and settings."""
        return type(self).__name__, {"refresh_rate": self.refresh_rate, "show_metrics": self.show_metrics}

    def close(self) -> None:
        """Restore the terminal. Idempotent."""
        if self._display is not None:
            self._display.close()
        self._display = None

    def _on_start(self) -> None:
        from rich.console import Console

        self.close()
        self._total = expected_end(self.model)
        self._returns.clear()
        self._marks = deque([(time.perf_counter(), self.model.num_timesteps)])
        self._next_redraw = 0.0
        self._display = TerminalBar(self.show_metrics) if Console().is_terminal else PlainLines(self.show_metrics)
        self._draw()

    def _on_episode(self, episode: Episode) -> bool:
        self._returns.append(episode.episode_return)
        return True

    def _on_every_step(self) -> bool:
        now = time.perf_counter()
        if now >= self._next_redraw or self.num_timesteps >= self._total:
            self._next_redraw = now + 1.0 / self.refresh_rate
            self._draw()
        return True

    def _on_end(self) -> None:
        if not self.interrupted:
            self._draw()
        self.close()

    def _draw(self) -> None:
        now = time.perf_counter()
        self._marks.append((now, self.model.num_timesteps))
        while len(self._marks) > 2 and now - self._marks[1][0] > SPEED_WINDOW_S:
            self._marks.popleft()
        since, steps = self._marks[0]
        speed = (self.model.num_timesteps - steps) / max(now - since, 1e-9)
        if self._display is not None:
            with np.errstate(invalid="ignore"):  # infinite returns
                episode_return = float(np.mean(self._returns)) if self._returns else None
            total = max(self._total, self.model.num_timesteps)
            self._display.show(self.model.num_timesteps, total, speed, episode_return)


def expected_end(model: BaseAlgorithm) -> int:
    """The timestep at which ``learn()`` will end: the one asked for, or the end of the rollout that reaches it."""
    total, rollout = int(model._total_timesteps), 1
    if isinstance(model, OnPolicyAlgorithm):
        rollout = model.n_steps * model.n_envs
    elif isinstance(model, OffPolicyAlgorithm):
        frequency: Any = model.train_freq
        rollout = model.n_envs * (frequency.frequency if frequency.unit == TrainFrequencyUnit.STEP else 1)
    return total + (model.num_timesteps - total) % rollout
