"""Environment ids with hidden velocities."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from velora_sb3.envs.mask_velocity import MaskVelocity

NO_VELOCITY = {
    "CartPoleNoVel-v1": "CartPole-v1",
    "PendulumNoVel-v1": "Pendulum-v1",
    "MountainCarNoVel-v0": "MountainCar-v0",
    "MountainCarContinuousNoVel-v0": "MountainCarContinuous-v0",
    "LunarLanderNoVel-v3": "LunarLander-v3",
    "LunarLanderContinuousNoVel-v3": "LunarLanderContinuous-v3",
}


def make_no_velocity(base: str, **kwargs: Any) -> gym.Env[Any, Any]:
    """An environment with its velocities masked."""
    return MaskVelocity(gym.make(base, **kwargs))


def register_envs() -> None:
    """Register the ids with gymnasium, except those that exist already, such as RL Zoo's."""
    for name, base in NO_VELOCITY.items():
        if name not in gym.registry:
            gym.register(name, entry_point="velora_sb3.envs.register:make_no_velocity", kwargs={"base": base})
