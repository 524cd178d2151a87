"""Evaluation during and after training, with action masks if the algorithm supports them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sb3_contrib.common.maskable.evaluation import evaluate_policy as evaluate_masked
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnv

from velora_sb3._validation import takes_masks
from velora_sb3.callbacks import EvalCallback, MaskableEvalCallback
from velora_sb3.callbacks.base.triggers import EveryTimesteps
from velora_sb3.callbacks.hooks.eval_callback import warn_of_long_episode
from velora_sb3.cli.experiment.run_files import CsvFile, RunFile, WholeFile, as_zip
from velora_sb3.cli.saved_model import BEST_MODEL

COLUMNS = ("timesteps", "mean_return", "std_return", "min_return", "max_return", "mean_length")


class _ByTimesteps:
    """Mixin for ``EvalCallback``: evaluates every N timesteps; SB3 counts calls, which are ``n_envs`` timesteps each.

    It writes ``evaluations.csv`` beside SB3's ``evaluations.npz``, and the model with the best mean return as
    ``best_model.zip``.

    Attributes:
        on_eval_step: Called after each step of an evaluation.
    """

    best_mean_reward: float
    on_eval_step: Callable[[], object] | None = None

    def __init__(
        self, env: VecEnv, every_n_timesteps: int, directory: Path, n_episodes: int, after: BaseCallback | None
    ) -> None:
        super().__init__(  # type: ignore[call-arg]
            env,
            callback_after_eval=after,
            eval_freq=1,
            n_eval_episodes=n_episodes,
            verbose=0,
        )
        self._rows = CsvFile(directory / "evaluations.csv", COLUMNS)
        self._archive, self._best_model = WholeFile(directory / "evaluations.npz"), WholeFile(directory / BEST_MODEL)
        self.files: list[RunFile] = [self._rows, self._archive, self._best_model]
        self._period = EveryTimesteps(every_n_timesteps)

    @property
    def best(self) -> tuple[int, float] | None:
        """Timesteps and mean return of the best evaluation."""
        means = [float(np.mean(returns)) for returns in self.evaluations_results]  # type: ignore[attr-defined]
        if not means or not np.isfinite(self.best_mean_reward):
            return None
        return self.evaluations_timesteps[int(np.nanargmax(means))], self.best_mean_reward  # type: ignore[attr-defined]

    def _on_training_start(self) -> None:
        super()._on_training_start()  # type: ignore[misc]
        timesteps: int = self.num_timesteps  # type: ignore[attr-defined]
        self._rows.start(timesteps)
        self._period.timestep = timesteps

    def _on_step(self) -> bool:
        timesteps: int = self.num_timesteps  # type: ignore[attr-defined]
        if not self._period.crossed(timesteps):
            return True
        best_before: float = self.best_mean_reward
        archive = io.BytesIO()
        self.log_path: Any = archive  # SB3 raises if it writes to a full disk
        try:
            continues = bool(super()._on_step())  # type: ignore[misc]
        finally:
            self.log_path = None
        returns = self.evaluations_results[-1]  # type: ignore[attr-defined]
        lengths = self.evaluations_length[-1]  # type: ignore[attr-defined]
        row = (np.mean(returns), np.std(returns), np.min(returns), np.max(returns), np.mean(lengths))
        self._rows.append((timesteps, *(round(float(number), 4) for number in row)))
        self._archive.write(archive.getvalue())
        if self.best_mean_reward > best_before:
            self._best_model.write(as_zip(self.model))  # type: ignore[attr-defined]
        else:
            self._best_model.retry()
        return continues

    def _log_success_callback(self, locals_: dict[str, Any], globals_: dict[str, Any]) -> None:
        super()._log_success_callback(locals_, globals_)  # type: ignore[misc]
        if self.on_eval_step is not None:
            self.on_eval_step()


class EvaluateByTimesteps(_ByTimesteps, EvalCallback):
    """``EvalCallback``, triggered by timesteps."""


class MaskedEvaluateByTimesteps(_ByTimesteps, MaskableEvalCallback):
    """``MaskableEvalCallback``, triggered by timesteps."""


def evaluation_callback(
    algorithm: type[BaseAlgorithm],
    env: VecEnv,
    every_n_timesteps: int,
    directory: Path,
    n_episodes: int = 5,
    after: BaseCallback | None = None,
) -> EvaluateByTimesteps | MaskedEvaluateByTimesteps:
    """The callback that evaluates a model during training."""
    callback = MaskedEvaluateByTimesteps if takes_masks(algorithm) else EvaluateByTimesteps
    return callback(env, every_n_timesteps, directory, n_episodes, after)


def evaluate_model(
    model: BaseAlgorithm, env: VecEnv, n_episodes: int, deterministic: bool = True
) -> tuple[list[float], list[int]]:
    """Returns and lengths of episodes; a recurrent model keeps its state within each episode."""
    evaluate: Any = evaluate_masked if takes_masks(type(model)) else evaluate_policy
    returns, lengths = evaluate(
        model,
        env,
        n_eval_episodes=n_episodes,
        deterministic=deterministic,
        callback=warn_of_long_episode,
        return_episode_rewards=True,
    )
    return returns, lengths
