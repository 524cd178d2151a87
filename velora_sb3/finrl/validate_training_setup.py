"""A quick look at model and environment before a long run."""

from __future__ import annotations

import io
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from velora_sb3.callbacks.base.preserve_rng import preserve_rng
from velora_sb3.finrl.normalization import normalized_as
from velora_sb3.memory import StatefulPredictor

LOOKS = 100  # steps whose observations and rewards are looked at


def validate_training_setup(
    model: BaseAlgorithm, env: gym.Env[Any, Any] | VecEnv | None = None, n_test_steps: int = 1000
) -> bool:
    """Let a copy of the model act and learn for a while, and see that all numbers are finite.

    The model itself, its replay buffer, the statistics of a ``VecNormalize`` and the random generators stay as they
    were. The environment does not: training resets it when it starts, or goes on.

    Args:
        model: The model.
        env: Where to try; None for its own environment.
        n_test_steps: How long the copy learns. Off-policy algorithms learn from ``learning_starts`` on.

    Returns:
        True; whatever is wrong raises.

    Raises:
        ValueError: If an observation, a reward or a weight is not finite, or an action is none of the action space's.
    """
    if env is None:
        env = model.get_env()
    if env is None:
        raise ValueError("the model has no environment: pass env")
    with preserve_rng(model):
        stored = io.BytesIO()
        model.save(stored)
        stored.seek(0)
        if isinstance(env, VecNormalize):
            env = normalized_as(env, env)
        copy = type(model).load(stored, env=env, device=model.device, tensorboard_log=None, verbose=0)
        _look(copy)
        copy.learn(n_test_steps)
        for name, weights in copy.policy.named_parameters():
            if not weights.isfinite().all():
                raise ValueError(f"{name} is not finite after {n_test_steps} steps: lower the learning rate")
    if model.get_env() is not None:
        model.set_env(model.get_env())  # type: ignore[arg-type]  # what it last saw is no longer where the episode is
    return True


def _look(model: BaseAlgorithm) -> None:
    vec_env = model.get_env()
    assert vec_env is not None  # it was loaded with one
    predictor = StatefulPredictor(model)
    observations: Any = vec_env.reset()
    starts = np.ones(vec_env.num_envs, dtype=bool)
    _check(observations, "observation", 0)
    for step in range(1, LOOKS + 1):
        actions, _ = predictor.predict(observations, episode_start=starts)
        if not all(model.action_space.contains(action) for action in actions):
            raise ValueError(f"step {step}: an action is not in {model.action_space}: {actions}")
        observations, rewards, starts, _ = vec_env.step(actions)
        _check(observations, "observation", step)
        _check(rewards, "reward", step)


def _check(values: Any, what: str, step: int) -> None:
    parts = values.items() if isinstance(values, dict) else [("", values)]
    for name, part in parts:
        if not np.isfinite(part).all():
            of = f" {name!r}" if name else ""
            raise ValueError(f"step {step}: {what}{of} has NaN or infinity: check the prices and indicators")
