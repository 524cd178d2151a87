"""``VecNormalize`` around other environments."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium as gym
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize


def normalized_as(normalizer: VecNormalize | None, env: gym.Env[Any, Any] | VecEnv) -> gym.Env[Any, Any] | VecEnv:
    """An environment in a ``VecNormalize`` that goes on from another's statistics; the other stays as it is."""
    if normalizer is None:
        return env
    if isinstance(env, VecNormalize):
        env = env.venv
    successor = copy.deepcopy(normalizer)  # leaves the environments behind
    successor.set_venv(env if isinstance(env, VecEnv) else DummyVecEnv([lambda: env]))
    return successor
