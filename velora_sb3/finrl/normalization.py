"""Vectorized environments, and ``VecNormalize`` carried over from one to the next."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium as gym
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize


def as_vec_env(env: gym.Env[Any, Any] | VecEnv) -> VecEnv:
    """A vectorized environment, around a single one if need be."""
    return env if isinstance(env, VecEnv) else DummyVecEnv([lambda: env])


def normalized_as(normalizer: VecNormalize | None, env: gym.Env[Any, Any] | VecEnv) -> gym.Env[Any, Any] | VecEnv:
    """An environment under a copy of another's ``VecNormalize``, with its statistics so far."""
    if normalizer is None:
        return env
    if isinstance(env, VecNormalize):
        env = env.venv
    successor = copy.deepcopy(normalizer)  # does not copy the environments
    successor.set_venv(as_vec_env(env))
    return successor
