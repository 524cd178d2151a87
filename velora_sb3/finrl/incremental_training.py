"""Training that continues as new prices come in."""

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
from velora_sb3.finrl.normalization import check_fits, normalized_as, save_statistics


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
    """Train one model on consecutive chunks of prices.

    Weights, optimizer state, replay buffer, timestep count and the statistics of a ``VecNormalize`` carry over from
    chunk to chunk. Each chunk starts a new episode.

    Args:
        chunks: Prices as :func:`data_split` returns them, with the same tickers and indicators in each chunk.
        base_model: A model to continue, or the name of a model to build on the first chunk. To continue one from its
            file with its normalization, load it with the environment: ``PPO.load(file, VecNormalize.load(file, env))``.
        timesteps_per_chunk: Environment steps to train for on each chunk.
        make_env: Builds the environment of a chunk.
        model_settings: Further arguments of :meth:`DRLAgent.get_model`, for a model that is built.
        callbacks: As for :meth:`DRLAgent.train_model`.
        save_path: Directory for ``chunk_<i>_model.zip``, written after each chunk, and
            ``chunk_<i>_model_vecnormalize.pkl`` if there is a ``VecNormalize``;
            :meth:`DRLAgent.DRL_prediction_load_from_file` loads both. None to save nothing.

    Returns:
        The trained model.

    Raises:
        ValueError: If ``chunks`` is empty or a single data frame, or the environment of a chunk does not fit the model.
    """
    if isinstance(chunks, pd.DataFrame):  # type: ignore[unreachable]  # by mistake
        raise ValueError("chunks must be several data frames of prices, got one: pass [prices]")
    model = None if isinstance(base_model, str) else base_model
    trained = False
    for number, chunk in enumerate(chunks):
        env = make_env(chunk)
        if model is None:
            model = DRLAgent(env).get_model(str(base_model), **(model_settings or {}))
        else:
            check_fits(model, env)
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
            file = Path(save_path) / f"chunk_{number}_model"
            model.save(file)
            save_statistics(model, file)
        trained = True
    if model is None or not trained:
        raise ValueError("there are no chunks to train on: pass at least one data frame of prices")
    return model
