"""The callbacks of a trading run, in one call."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
from stable_baselines3.common.callbacks import BaseCallback, StopTrainingOnNoModelImprovement
from stable_baselines3.common.vec_env import VecEnv

from velora_sb3._optional import missing_modules
from velora_sb3.callbacks import (
    ActionAnalysis,
    EarlyStopping,
    LearningRateScheduler,
    PerformancePlots,
    SaveCheckpoints,
)
from velora_sb3.finrl.models import find_model
from velora_sb3.finrl.trading_eval import TradingEvalCallback

SCHEDULED = ("a2c", "ppo")  # as in FinRL's guide


def make_callbacks(
    directory: str | Path,
    eval_env: gym.Env[Any, Any] | VecEnv,
    model_name: str = "ppo",
    *,
    target: float | None = None,
    patience: int = 15,
    eval_freq: int = 5_000,
    n_eval_episodes: int = 1,
    save_frequency: int = 10,
    every_n_timesteps: int = 5_000,
    initial_lr: float = 3e-4,
    decay_rate: float = 0.98,
    buffer: bool | Literal["resume"] = False,
    force: bool = False,
    verbose: int = 1,
) -> list[BaseCallback]:
    """The callbacks of a trading run: checkpoints, evaluation with early stopping, plots and action statistics.

    For PPO and A2C the learning rate also decays, by a factor of ``decay_rate`` every 25,000 timesteps. Without
    matplotlib there are no plots.

    ::

        <directory>/checkpoints/      SaveCheckpoints
        <directory>/best_model/       the model with the best evaluation so far, and its normalization
        <directory>/eval_logs/        SB3's evaluations.npz
        <directory>/plots/            PerformancePlots

    Args:
        directory: Directory of the run.
        eval_env: A trading environment for :class:`TradingEvalCallback`, on days that are neither trained nor tested
            on: its evaluations end the training and choose the best model.
        model_name: As for :meth:`DRLAgent.get_model`.
        target: Stop when evaluations reach this mean reward; None to stop when they no longer improve.
        patience: With a target, the number of consecutive evaluations that must reach it. Without one, the number of
            evaluations without improvement that end training; the first five do not count.
        eval_freq: Calls of the vectorized environment's ``step`` between evaluations, as in SB3.
        n_eval_episodes: Episodes per evaluation. One is enough for a deterministic policy on fixed prices.
        save_frequency: Episodes between checkpoints.
        every_n_timesteps: Timesteps between plots, and between action statistics.
        initial_lr: Initial learning rate, where it decays.
        decay_rate: Factor by which it decays.
        buffer: ``"resume"`` to save the replay buffer, for :class:`SaveCheckpoints`; without it an off-policy run
            resumes with an empty one.
        force: Whether to use a directory that holds checkpoints already, as to resume a run.
        verbose: 0 for no output.

    Returns:
        A list for ``train_model(callbacks=...)``, to which you can append your own.

    Raises:
        ValueError: If ``model_name`` is unknown.
        FileExistsError: If the directory holds checkpoints and ``force`` is not set.
    """
    find_model(model_name)  # a typo would silently drop the learning rate schedule
    directory = Path(directory)
    stop: BaseCallback = (
        StopTrainingOnNoModelImprovement(patience, min_evals=5, verbose=verbose)
        if target is None
        else EarlyStopping(target, patience=patience, verbose=verbose)
    )
    evaluation = TradingEvalCallback(
        eval_env,
        best_model_save_path=str(directory / "best_model"),
        log_path=str(directory / "eval_logs"),
        eval_freq=eval_freq,
        n_eval_episodes=n_eval_episodes,
        callback_after_eval=stop,
        verbose=verbose,
    )
    checkpoints: dict[str, Any] = {"frequency": save_frequency, "buffer": buffer, "force": force, "verbose": verbose}
    callbacks: list[BaseCallback] = [
        SaveCheckpoints("checkpoints", root=directory, **checkpoints),
        evaluation,
        ActionAnalysis(every_n_timesteps),
    ]
    if not missing_modules("plot"):
        callbacks.append(PerformancePlots(directory / "plots", every_n_timesteps=every_n_timesteps))
    if model_name in SCHEDULED:
        settings = {"initial_lr": initial_lr, "decay_rate": decay_rate, "every_n_timesteps": 25_000}
        callbacks.append(LearningRateScheduler("step", **settings))  # type: ignore[arg-type]
    return callbacks
