"""Control tasks with hidden velocities, which an agent must infer from past observations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import gymnasium as gym
import numpy as np

from velora_sb3._validation import check_integer

# Indices of the velocities, as in RL Zoo.
VELOCITIES: dict[str, tuple[int, ...]] = {
    "CartPole-v1": (1, 3),
    "Pendulum-v1": (2,),
    "MountainCar-v0": (1,),
    "MountainCarContinuous-v0": (1,),
    "LunarLander-v3": (2, 3, 5),
    "LunarLanderContinuous-v3": (2, 3, 5),
}


class MaskVelocity(gym.ObservationWrapper[np.ndarray, Any, np.ndarray], gym.utils.RecordConstructorArgs):
    """Set velocities to zero.

    Args:
        env: An environment with vector observations.
        indices: Indices of the velocities; None looks them up by the environment's id.

    Raises:
        ValueError: If no indices are given and none are known for the environment, if one is out of range, or if
            observations are no vectors.
    """

    def __init__(self, env: gym.Env[np.ndarray, Any], indices: tuple[int, ...] | None = None) -> None:
        if indices is not None and not isinstance(indices, Iterable):
            raise ValueError(f"indices must be a sequence such as (1, 3), got {indices!r}")
        indices = None if indices is None else tuple(indices)
        gym.utils.RecordConstructorArgs.__init__(self, indices=indices)
        super().__init__(env)
        if indices is None:
            env_id = env.spec.id if env.spec else type(env.unwrapped).__name__
            if env_id not in VELOCITIES:
                raise ValueError(
                    f"the velocities of {env_id} are unknown: pass indices=(...); known are {', '.join(VELOCITIES)}"
                )
            indices = VELOCITIES[env_id]
        space = env.observation_space
        if not isinstance(space, gym.spaces.Box) or len(space.shape) != 1:
            raise ValueError(f"MaskVelocity needs vector observations, got {space}")
        if not indices:
            raise ValueError("indices is empty: name at least one velocity, or leave the wrapper out")
        for index in indices:
            check_integer("each of indices", index, least=0, most=space.shape[0] - 1)
        self._velocities = list(indices)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        """The observation with its velocities set to zero."""
        masked = np.array(observation)
        masked[self._velocities] = 0  # a product would keep NaN
        return masked
