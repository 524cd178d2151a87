"""Control tasks whose velocities are hidden: an agent must remember to see them."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

# Indices of the velocities, as RL Zoo masks them.
VELOCITIES: dict[str, tuple[int, ...]] = {
    "CartPole-v1": (1, 3),
    "Pendulum-v1": (2,),
    "MountainCar-v0": (1,),
    "MountainCarContinuous-v0": (1,),
    "LunarLander-v3": (2, 3, 5),
    "LunarLanderContinuous-v3": (2, 3, 5),
}


class MaskVelocity(gym.ObservationWrapper[np.ndarray, Any, np.ndarray], gym.utils.RecordConstructorArgs):
    """Sets velocities to zero.

    Args:
        env: An environment with vector observations.
        indices: Which entries are velocities; None looks them up by the environment's id.

    Raises:
        ValueError: If no indices are given and none are known for the environment, or one is out of range.
    """

    def __init__(self, env: gym.Env[np.ndarray, Any], indices: tuple[int, ...] | None = None) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, indices=indices)
        super().__init__(env)
        if indices is None:
            env_id = env.spec.id if env.spec else type(env.unwrapped).__name__
            if env_id not in VELOCITIES:
                raise ValueError(
                    f"no velocities are known for {env_id}: pass their indices; known are {', '.join(VELOCITIES)}"
                )
            indices = VELOCITIES[env_id]
        space = env.observation_space
        if not isinstance(space, gym.spaces.Box) or len(space.shape) != 1:
            raise ValueError(f"MaskVelocity needs vector observations, got {space}")
        if not all(0 <= index < space.shape[0] for index in indices):
            raise ValueError(f"indices must lie between 0 and {space.shape[0] - 1}, got {tuple(indices)}")
        self._mask = np.ones(space.shape, dtype=space.dtype)
        self._mask[list(indices)] = 0

    def observation(self, observation: np.ndarray) -> np.ndarray:
        """The observation with velocities at zero."""
        masked: np.ndarray = observation * self._mask
        return masked
