"""Training that goes on as new prices come in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import pandas as pd
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.vec_env import VecEnv

from velora_sb3.finrl.agent import DRLAgent
from velora_sb3.finrl.make_trading_env import make_trading_env
from velora_sb3.finrl.normalization import normalized_as


def incremental_training(
    chunks: Iterable[pd.DataFrame],
    base_model: BaseAlgorithm | str = "ppo",
    timesteps_per_chunk: int = 50_000,
    *,
    make_env: Callable[[pd.DataFrame], gym.Env[Any, Any] | VecEnv] = make_trading_env,
    model_settings: Mapping[str, Any] | None = None,
    callbacks: MaybeCallback | Sequence[BaseCallback] = None,
    save_path: str | Path | None = "incremental_models",
) -> BaseAlgorithm:
    """Train one model on one part of the prices after the other.

    Weights, optimizer, replay buffer and the count of timesteps go on from part to part; episodes begin anew. If the
    model trains in a ``VecNormalize``, the next environment goes into it, with the statistics so far.

    Args:
        chunks: The parts, as :func:`data_split` gives them, with the same tickers and indicators.
        base_model: A model to go on with, or the name of one to build for the first part.
        timesteps_per_chunk: How long to train on each.
        make_env: Makes the environment of a part.
        model_settings: Further arguments of :meth:`DRLAgent.get_model` for a model that is built.
        callbacks: As for :meth:`DRLAgent.train_model`.
        save_path: Folder for ``chunk_<i>_model.zip`` after each part; None for none.

    Returns:
        The model.

    Raises:
        ValueError: If there are no parts.
    """
    model, number = None if isinstance(base_model, str) else base_model, None
    for number, chunk in enumerate(chunks):
        env = make_env(chunk)
        if model is None:
            model = DRLAgent(env).get_model(str(base_model), **(model_settings or {}))
        else:
            model.set_env(normalized_as(model.get_vec_normalize_env(), env))
        model = DRLAgent.train_model(
            model,
            f"incremental_chunk_{number}",
            timesteps_per_chunk,
            callbacks,
            reset_num_timesteps=model.num_timesteps == 0,
        )
        if save_path is not None:
            Path(save_path).mkdir(parents=True, exist_ok=True)
            model.save(Path(save_path) / f"chunk_{number}_model")
    if model is None or number is None:
        raise ValueError("there are no chunks to train on")
    return model
