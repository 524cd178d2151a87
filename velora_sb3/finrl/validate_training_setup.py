"""A quick check of model and environment before a long run."""

from __future__ import annotations

import io
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from velora_sb3._validation import check_integer
from velora_sb3.callbacks.base.preserve_rng import preserve_rng
from velora_sb3.finrl.normalization import check_fits, kept_statistics
from velora_sb3.memory import StatefulPredictor

CHECKED_STEPS = 100  # observations, rewards and actions are checked for that long


def validate_training_setup(
    model: BaseAlgorithm, env: gym.Env[Any, Any] | VecEnv | None = None, n_test_steps: int = 1000
) -> bool:
    """Train a copy of the model for a short while and check that all numbers are finite.

    The model, its replay buffer, the statistics of a ``VecNormalize`` and the random generators are left unchanged. The
    environment is stepped; the next call of ``learn`` resets it.

    Args:
        model: The model.
        env: The environment to test in; None for the model's own.
        n_test_steps: Timesteps to train the copy for. Off-policy algorithms update only after ``learning_starts``.

    Returns:
        True. Any problem raises.

    Raises:
        ValueError: If an observation, a reward or a weight is not finite, an action is outside the action space, or the
            environment does not fit the model.
    """
    n_test_steps = check_integer("n_test_steps", n_test_steps)
    env = model.get_env() if env is None else env
    if env is None:
        raise ValueError("the model has no environment: pass env")
    check_fits(model, env)
    with preserve_rng(model), kept_statistics(env):
        stored = io.BytesIO()
        model.save(stored)
        stored.seek(0)
        copy = type(model).load(stored, env=env, device=model.device, tensorboard_log=None, verbose=0)
        _check_steps(copy)
        copy.learn(n_test_steps)
        for name, weights in copy.policy.named_parameters():
            if not weights.isfinite().all():
                raise ValueError(f"weights {name} are not finite after {n_test_steps} steps: lower the learning rate")
    if model.get_env() is not None:
        model.set_env(model.get_env())  # type: ignore[arg-type]  # drops the last observation, which is out of date
    return True


def _check_steps(model: BaseAlgorithm) -> None:
    vec_env = model.get_env()
    assert vec_env is not None  # the copy was loaded with one
    predictor = StatefulPredictor(model, vec_normalize=False)
    observations: Any = vec_env.reset()
    starts = np.ones(vec_env.num_envs, dtype=bool)
    _check(observations, "observation", 0)
    for step in range(1, CHECKED_STEPS + 1):
        actions, _ = predictor.predict(observations, episode_start=starts)
        if not all(model.action_space.contains(action) for action in actions):
            raise ValueError(f"step {step}: action outside {model.action_space}: {actions}")
        observations, rewards, starts, _ = vec_env.step(actions)
        _check(observations, "observation", step)
        _check(rewards, "reward", step)


def _check(values: Any, what: str, step: int) -> None:
    parts = values.items() if isinstance(values, dict) else [("", values)]
    for name, part in parts:
        if not np.isfinite(part).all():
            of = f" {name!r}" if name else ""
            raise ValueError(f"step {step}: {what}{of} is NaN or infinite: check prices and indicators")
