"""The environments of the benchmark suite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import FlattenObservation

from velora_sb3._optional import require
from velora_sb3.envs import IrregularSampling, MaskVelocity  # and registers the ids


def environment(env_id: str, **sampling: Any) -> Callable[[], gym.Env[Any, Any]]:
    """What makes an environment, with ``IrregularSampling`` if there are settings for it."""

    def make() -> gym.Env[Any, Any]:
        env = gym.make(env_id)
        return IrregularSampling(env, **sampling) if sampling else env

    return make


def velocities_alone() -> gym.Env[Any, Any]:
    """Pendulum's velocity without its angle."""
    return MaskVelocity(gym.make("Pendulum-v1"), indices=(0, 1))


class _RewardObservation(gym.Wrapper[Any, Any, Any, Any]):
    """The reward of the last step as one more number of the observation, 0 at the start."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        seen = env.observation_space
        assert isinstance(seen, gym.spaces.Box)
        self.observation_space = gym.spaces.Box(
            np.append(seen.low, np.float32(-np.inf)), np.append(seen.high, np.float32(np.inf))
        )

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(**kwargs)
        return np.append(observation, np.float32(0)), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return np.append(observation, np.float32(reward)), reward, terminated, truncated, info


def velocities_and_reward() -> gym.Env[Any, Any]:
    """Pendulum's velocity and the reward of the last step."""
    return _RewardObservation(velocities_alone())


def popgym_env(name: str, with_action: bool = False) -> gym.Env[Any, Any]:
    """A task of popgym; with ``with_action`` the agent sees its previous action, too."""
    require("benchmarks", f"the task popgym {name}")
    import popgym.envs
    import popgym.wrappers

    env = getattr(popgym.envs, name)()
    return FlattenObservation(popgym.wrappers.PreviousAction(env) if with_action else env)
