"""Vectorized environments: whether they fit a model, and ``VecNormalize`` carried over or saved."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize, unwrap_vec_normalize

from velora_sb3._atomic import atomic_write
from velora_sb3._normalization import observation_normalizer

STATISTICS = ("obs_rms", "ret_rms", "returns")  # of a VecNormalize, which has those that it needs


def as_vec_env(env: gym.Env[Any, Any] | VecEnv) -> VecEnv:
    """A vectorized environment, around a single one if need be."""
    return env if isinstance(env, VecEnv) else DummyVecEnv([lambda: env])


def check_fits(model: BaseAlgorithm, env: gym.Env[Any, Any] | VecEnv) -> None:
    """Raise ``ValueError`` unless the environment has observations and actions of the shapes that the model has."""
    for what in ("observation", "action"):
        expected, got = (getattr(each, f"{what}_space") for each in (model, env))
        if _shapes(expected) == _shapes(got):
            continue
        fix = "it needs the tickers and indicators that the model was trained with"
        if isinstance(expected, spaces.Dict) != isinstance(got, spaces.Dict):
            fix = f"pass timespans={isinstance(expected, spaces.Dict)} to make_trading_env, as in training"
        raise ValueError(
            f"the environment does not fit the model: its {what} space is {got}, the model's is {expected}; {fix}"
        )


def _shapes(space: spaces.Space[Any]) -> Any:
    if isinstance(space, spaces.Dict):
        return {name: _shapes(part) for name, part in space.spaces.items()}
    return space.shape if isinstance(space, spaces.Box) else space


def normalized_as(normalizer: VecNormalize | None, env: gym.Env[Any, Any] | VecEnv) -> gym.Env[Any, Any] | VecEnv:
    """An environment under a copy of another's ``VecNormalize``, with its statistics so far."""
    if normalizer is None:
        return env
    inner = unwrap_vec_normalize(env) if isinstance(env, VecEnv) else None
    successor = copy.deepcopy(normalizer)  # does not copy the environments
    if inner is not None and inner is not env:  # under other wrappers
        vars(inner).update({name: value for name, value in vars(successor).items() if name in STATISTICS})
        return env
    successor.set_venv(as_vec_env(env) if inner is None else inner.venv)
    return successor


@contextmanager
def kept_statistics(env: gym.Env[Any, Any] | VecEnv) -> Iterator[None]:
    """Restore the statistics of the environment's ``VecNormalize`` at the end of the block."""
    inner = unwrap_vec_normalize(env) if isinstance(env, VecEnv) else None
    before = {name: value for name, value in vars(inner).items() if name in STATISTICS} if inner is not None else {}
    if inner is not None:
        vars(inner).update(copy.deepcopy(before))
    try:
        yield
    finally:
        if inner is not None:
            vars(inner).update(before)


def statistics_file(model_file: Path) -> Path:
    """Where :func:`save_statistics` puts them: ``agent_vecnormalize.pkl`` beside ``agent`` or ``agent.zip``."""
    name = model_file.name.removesuffix(".zip")
    return model_file.with_name(f"{name}_vecnormalize.pkl")


def save_statistics(model: BaseAlgorithm, model_file: Path) -> None:
    """Save the model's ``VecNormalize``, if it has one, beside the model's own file."""
    if (normalizer := observation_normalizer(model.get_env())) is not None:
        with atomic_write(statistics_file(model_file)) as partial:
            normalizer.save(str(partial))
