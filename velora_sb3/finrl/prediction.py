"""One trading episode of a trained model."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecMonitor, VecNormalize

from velora_sb3._normalization import ObservationStatistics, kept_with, misses_normalization, observation_normalizer
from velora_sb3.finrl.normalization import check_fits, statistics_file
from velora_sb3.memory import StatefulPredictor

MISSING = (
    "the model was trained under VecNormalize, but its zip file does not contain the statistics: pass the environment "
    "in VecNormalize.load(path, env), or StatefulPredictor(model, vec_normalize=False) if observations were not "
    "normalized"
)
RECORDS = ("save_asset_memory", "save_action_memory")


def trade(
    model: BaseAlgorithm | StatefulPredictor,
    environment: gym.Env[Any, Any] | VecEnv,
    deterministic: bool,
    normalizer: VecNormalize | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Play one episode and return its records, which a vectorized environment's automatic reset would clear."""
    normalizes = isinstance(model, StatefulPredictor) and model.vec_normalize is not None
    if isinstance(model, StatefulPredictor):
        predictor = model if normalizes else StatefulPredictor(model.model, vec_normalize=False)
    else:
        predictor = StatefulPredictor(model, vec_normalize=False)
    env, wrapped_in = single_env(environment)
    if missing := [name for name in RECORDS if not env.has_wrapper_attr(name)]:
        raise ValueError(f"{env} has no {', '.join(missing)}: DRL_prediction needs a trading environment")
    check_fits(predictor.model, env)
    statistics: VecNormalize | ObservationStatistics | None = None
    if not normalizes:
        own = observation_normalizer(predictor.model.get_env())
        statistics = normalizer or own or wrapped_in or kept_with(predictor.model)
        decided = isinstance(model, StatefulPredictor) and model._warning is None
        if statistics is None and not decided and misses_normalization(predictor.model):
            warnings.warn(MISSING, stacklevel=3)
    predictor.reset()
    observation, _ = env.reset()
    done = False
    while not done:
        seen = _arrays(observation)
        if statistics is not None:
            seen = statistics.normalize_obs(seen)
        action, _ = predictor.predict(seen, deterministic=deterministic)
        observation, _, terminated, truncated, _ = env.step(action)
        done = terminated or truncated
    account, actions = (env.get_wrapper_attr(name)() for name in RECORDS)
    return account, actions


def load_model(
    algorithm: type[BaseAlgorithm], path: Path, environment: gym.Env[Any, Any] | VecEnv
) -> tuple[BaseAlgorithm, VecNormalize | None]:
    """A model, and its ``VecNormalize`` if one was saved with it."""
    file = path / "model.zip" if path.is_dir() else path
    if not file.exists() and not file.with_name(file.name + ".zip").exists():
        raise ValueError(f"no model at {path}: pass a file written by model.save(), or a directory with model.zip")
    try:
        model = algorithm.load(file, device="cpu")
    except Exception as error:  # a file can be broken in any way
        raise ValueError(f"{file} cannot be loaded as {algorithm.__name__}: {error}") from error
    statistics = path / "vecnormalize.pkl" if path.is_dir() else statistics_file(path)
    if not statistics.exists():
        return model, None
    env, _ = single_env(environment)
    check_fits(model, env)
    return model, VecNormalize.load(str(statistics), DummyVecEnv([lambda: env]))


def single_env(environment: gym.Env[Any, Any] | VecEnv) -> tuple[gym.Env[Any, Any], VecNormalize | None]:
    """The only environment of a vectorized one, and its ``VecNormalize`` if there is one."""
    normalizer = None
    inner: Any = environment
    while isinstance(inner, VecNormalize | VecMonitor):
        normalizer = inner if isinstance(inner, VecNormalize) else normalizer
        inner = inner.venv
    if not isinstance(inner, VecEnv):
        return inner, normalizer
    if not isinstance(inner, DummyVecEnv) or inner.num_envs != 1:
        raise ValueError(
            f"expected a single environment, got a {type(inner).__name__} of {inner.num_envs}: pass the trading "
            "environment itself, in FrameStackObservation if the model expects a history"
        )
    return inner.envs[0], normalizer


def _arrays(observation: Any) -> Any:
    """Observations as float32 arrays; FinRL's are lists."""
    if isinstance(observation, dict):
        return {key: np.asarray(value, dtype=np.float32) for key, value in observation.items()}
    return np.asarray(observation, dtype=np.float32)
