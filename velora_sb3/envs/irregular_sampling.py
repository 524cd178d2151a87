"""Observations at irregular times, and lost observations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from velora_sb3._validation import check_number
from velora_sb3.envs.time_delta_observation import TimeDeltaObservation


class IrregularSampling(gym.Wrapper[dict[str, Any], Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Observe the environment, and act on it, at irregular times.

    Each action is held for a random number of environment steps, until the next observation. With probability
    ``drop_probability`` an observation is lost, and the action is held until the next one. The agent gets the latest
    observation, the sum of the rewards since its last observation, and the time since then as ``timespans``. The
    first and the last observation of an episode are never lost, and the last ends a hold.

    The time is the sum of the observation's own timespans if it has any, as from :class:`TimeDeltaObservation`, and
    the number of environment steps otherwise. A ``TimeLimit`` inside, as from ``gymnasium.make``, counts environment
    steps.

    ``reset(seed=...)`` also seeds holds and losses, from a stream of their own: the environment draws the same random
    numbers with and without this wrapper.

    Args:
        env: The environment.
        hold_probabilities: Probabilities of holds of 1, 2, 3, ... steps; ``[0.25] * 4`` is one to four steps, equally
            likely.
        drop_probability: Probability that an observation is lost, below 1.
        timespans_key: Key of the timespans; the policies' argument of that name.

    Raises:
        ValueError: If probabilities are out of range or do not add up to 1, or if the observation's own timespans are
            not one number.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        hold_probabilities: Sequence[float] = (1.0,),
        drop_probability: float = 0.0,
        timespans_key: str = "timespans",
    ) -> None:
        if not isinstance(hold_probabilities, Iterable):
            raise ValueError(f"hold_probabilities must be a sequence such as [0.5, 0.5], got {hold_probabilities!r}")
        hold = [check_number("each of hold_probabilities", value, least=0) for value in hold_probabilities]
        gym.utils.RecordConstructorArgs.__init__(
            self, hold_probabilities=hold, drop_probability=drop_probability, timespans_key=timespans_key
        )
        if not np.isclose(sum(hold), 1):
            raise ValueError(f"hold_probabilities must add up to 1, got {hold}")
        check_number("drop_probability", drop_probability, least=0, below=1)
        space = env.observation_space
        if not isinstance(space, spaces.Dict) or timespans_key not in space.spaces:
            env = TimeDeltaObservation(env, timespans_key=timespans_key)
        elif np.prod(space[timespans_key].shape or ()) != 1:
            raise ValueError(
                f"observation[{timespans_key!r}] must be one number, got {space[timespans_key]}: apply "
                "IrregularSampling before the frame stack"
            )
        super().__init__(env)
        entries: Any = env.observation_space  # a Dict, whose bound of a single timespan does not hold for a sum
        time = spaces.Box(0, np.inf, entries[timespans_key].shape, np.float32)
        self.observation_space = spaces.Dict({**entries.spaces, timespans_key: time})
        self._probabilities = np.array(hold) / sum(hold)
        self._drop_probability = drop_probability
        self._timespans_key = timespans_key
        self._random = np.random.default_rng()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, Any], Any]:
        """Reset the environment; the first observation is never lost."""
        if seed is not None:  # spawn_key: a stream apart from the environment's
            self._random = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))
        observation, info = self.env.reset(seed=seed, options=options)
        return self._with_time(observation, self._time(observation)), info

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Hold the action until an observation arrives.

        Args:
            action: The action.

        Returns:
            The observation with the time since the last one, the sum of the rewards, whether the episode has
            terminated, whether it is truncated, and the last step's info.
        """
        total, passed, arrived = 0.0, 0.0, False
        while not arrived:
            for _ in range(1 + self._random.choice(len(self._probabilities), p=self._probabilities)):
                observation, reward, terminated, truncated, info = self.env.step(action)
                total += float(reward)
                passed += self._time(observation)
                if terminated or truncated:
                    break
            arrived = terminated or truncated or self._random.random() >= self._drop_probability
        return self._with_time(observation, passed), total, terminated, truncated, info

    def _time(self, observation: dict[str, Any]) -> float:
        time: float = np.asarray(observation[self._timespans_key]).item()
        return time

    def _with_time(self, observation: dict[str, Any], passed: float) -> dict[str, Any]:
        shape = np.shape(observation[self._timespans_key])
        return {**observation, self._timespans_key: np.full(shape, passed, np.float32)}
