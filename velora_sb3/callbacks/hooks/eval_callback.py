"""SB3's ``EvalCallback``, announcing its evaluations and their episodes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Protocol

from sb3_contrib.common.maskable import callbacks as maskable
from stable_baselines3.common import callbacks as sb3
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

LONG_EPISODE = 100_000  # steps


def warn_of_long_episode(locals_: dict[str, Any], globals_: dict[str, Any]) -> None:
    """Warn of an episode that may never end; a callback of SB3's ``evaluate_policy``."""
    if locals_["current_lengths"][locals_["i"]] == LONG_EPISODE:
        warnings.warn(
            f"an episode of the evaluation has taken {LONG_EPISODE:,} steps, and the evaluation waits for its end: "
            "give an environment that may not end by itself a time limit (max_episode_steps of gymnasium.register or "
            "gymnasium.make)",
            stacklevel=2,
        )


class EvaluationListener(Protocol):
    """Receives what happens in the evaluations of an :class:`EvalCallback`."""

    def start(self) -> None:
        """An evaluation starts."""

    def reset(self, observations: Any) -> None:
        """The environments were reset; observations of all, as the policy gets them."""

    def step(self, rollout: dict[str, Any]) -> None:
        """One environment took a step; ``rollout`` holds the locals of SB3's ``evaluate_policy``."""

    def end(self) -> None:
        """The evaluation has ended, and its callbacks were called."""


class EvalCallback(sb3.EvalCallback):
    """SB3's ``EvalCallback``; its evaluations also reach the hooks of every :class:`EpisodeCallback` in the list.

    A drop-in replacement with SB3's arguments and results. SB3's own class announces only the mean return, after each
    evaluation. An evaluation waits for the end of its episodes; a warning says if one takes more than 100,000 steps.
    """

    listener: EvaluationListener | None = None
    _before_reset = False

    @property
    def training_env(self) -> VecEnv:
        """The model's environments."""
        env = super().training_env
        # SB3 syncs VecNormalize wrapper by wrapper, so both stacks need the same number of them.
        return _ReportReset(env, lambda _: None) if self._before_reset else env

    def _on_step(self) -> bool:
        listener, env = self.listener, self.eval_env
        if listener is None or self.eval_freq <= 0 or self.n_calls % self.eval_freq != 0:
            return super()._on_step()

        def restore() -> None:
            self.eval_env, self._before_reset = env, False

        def on_reset(observations: Any) -> None:
            restore()  # callbacks after the evaluation, such as one that saves, must see the environments themselves
            listener.reset(observations)

        listener.start()
        self.eval_env, self._before_reset = _ReportReset(env, on_reset), True
        try:
            proceed = super()._on_step()
        finally:
            restore()
        listener.end()
        return proceed

    def _log_success_callback(self, locals_: dict[str, Any], globals_: dict[str, Any]) -> None:
        """As SB3's, which calls it after each step of each environment."""
        super()._log_success_callback(locals_, globals_)
        warn_of_long_episode(locals_, globals_)
        if self.listener is not None:
            self.listener.step(locals_)


class MaskableEvalCallback(EvalCallback, maskable.MaskableEvalCallback):
    """sb3-contrib's ``MaskableEvalCallback`` with what :class:`EvalCallback` adds; arguments as there."""


class _ReportReset(VecEnvWrapper):
    """Reports resets; otherwise the environments as they are."""

    def __init__(self, env: VecEnv, on_reset: Callable[[Any], None]) -> None:
        super().__init__(env)
        self._on_reset = on_reset

    def reset(self) -> Any:
        observations = self.venv.reset()
        self._on_reset(observations)
        return observations

    def step_wait(self) -> Any:
        return self.venv.step_wait()
