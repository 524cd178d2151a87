"""A progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
import weakref
from collections import deque
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecNormalize, unwrap_vec_wrapper

from velora_sb3.callbacks.progress_displays import Display, PlainLines, TerminalBar

SPEED_WINDOW_S = 30.0
RETURN_WINDOW = 10


class ProgressBar(BaseCallback):
    """How far training is: steps, steps per second, episode return, time left.

    Returns are summed up from the rewards of the rollout, so no ``Monitor`` is needed; under ``VecNormalize`` they
    are the env's own. The return shown is the mean of the last ten episodes.

    The bar is closed when training ends, on ``close()`` or at the end of a ``with`` block; also, should training
    raise, when the callback is dropped or the program ends.

    Args:
        refresh_rate: Redraws per second on a terminal. Elsewhere one line is printed at every tenth of the way.
        show_metrics: Whether to show steps per second and the return.

    Raises:
        ValueError: If ``refresh_rate`` is not above zero.
    """

    def __init__(self, refresh_rate: float = 4.0, show_metrics: bool = True) -> None:
        super().__init__()
        if not refresh_rate > 0:
            raise ValueError(f"refresh_rate must be above 0 redraws per second, got {refresh_rate}")
        self.refresh_rate = refresh_rate
        self.show_metrics = show_metrics
        self._display: Display | None = None
        self._finalizer: weakref.finalize[Any, Any] | None = None
        self._returns: deque[float] = deque(maxlen=RETURN_WINDOW)

    def __enter__(self) -> ProgressBar:
        """The callback itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the bar."""
        self.close()

    def close(self) -> None:
        """Leave the terminal as it was. More than one call does no harm."""
        if self._finalizer is not None:
            self._finalizer()  # calls at most once
        self._finalizer = self._display = None

    def _on_training_start(self) -> None:
        from rich.console import Console

        self.close()
        self._total = int(self.locals["total_timesteps"])
        self._sums = np.zeros(self.training_env.num_envs)
        self._returns.clear()
        self._normalizer = unwrap_vec_wrapper(self.training_env, VecNormalize)
        self._marks = deque([(time.perf_counter(), self.num_timesteps)])
        self._next_redraw = 0.0
        self._display = TerminalBar(self.show_metrics) if Console().is_terminal else PlainLines(self.show_metrics)
        self._finalizer = weakref.finalize(self, self._display.close)
        self._draw()

    def _on_step(self) -> bool:
        rewards, dones = self.locals.get("rewards"), self.locals.get("dones")
        if rewards is not None and dones is not None:
            if isinstance(self._normalizer, VecNormalize):
                rewards = self._normalizer.get_original_reward()
            self._sums += rewards
            for index in np.flatnonzero(dones):
                self._returns.append(float(self._sums[index]))
                self._sums[index] = 0.0
        now = time.perf_counter()
        if now >= self._next_redraw or self.num_timesteps >= self._total:
            self._next_redraw = now + 1.0 / self.refresh_rate
            self._draw()
        return True

    def _on_rollout_end(self) -> None:
        episodes = getattr(self.model, "ep_info_buffer", None)
        if "rewards" not in self.locals and episodes:  # ARS hands callbacks no rewards
            self._returns.extend(float(episode["r"]) for episode in episodes)

    def _on_training_end(self) -> None:
        if self._display is not None:
            self._draw()
        self.close()

    def _draw(self) -> None:
        now = time.perf_counter()
        self._marks.append((now, self.num_timesteps))
        while len(self._marks) > 2 and now - self._marks[1][0] > SPEED_WINDOW_S:
            self._marks.popleft()
        since, steps = self._marks[0]
        speed = (self.num_timesteps - steps) / max(now - since, 1e-9)
        if self._display is not None:
            episode_return = float(np.mean(self._returns)) if self._returns else None
            self._display.show(self.num_timesteps, self._total, speed, episode_return)
