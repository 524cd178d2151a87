"""Observations at uneven times, and observations that get lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from velora_sb3.envs.time_delta_observation import TimeDeltaObservation


class IrregularSampling(gym.Wrapper[dict[str, Any], Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Lets the agent see the environment, and act on it, at uneven times alone.

    An action is held for a random number of the environment's steps. Then an observation is due. With
    ``drop_probability`` it does not arrive: the action is held on, until the next one is due. What arrives is the
    observation as it is then, with the sum of all rewards since the last one, and ``timespans`` says how long that was.
    An episode's first observation always arrives; so does its last, at once, also in the middle of a hold.

    The time is that of the observation's own timespans, summed, if it has any (as :class:`TimeDeltaObservation` makes);
    otherwise it is counted in the environment's steps. A ``TimeLimit`` inside, as ``gymnasium.make`` puts it, counts
    the environment's steps.

    ``reset(seed=...)`` seeds the holds and the losses too, apart from the environment's own randomness: the
    environment draws the same numbers with and without this wrapper.

    Args:
        env: The environment.
        hold_probabilities: Probabilities that an observation is due after 1, 2, 3, ... steps; ``[0.25] * 4`` is one to
            four steps, all equally likely.
        drop_probability: Probability that an observation that is due does not arrive, below 1.
        timespans_key: Key of the timespans; the policies' argument of that name.

    Raises:
        ValueError: If a probability is none, or the observation's own timespans are not one number.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        hold_probabilities: Sequence[float] = (1.0,),
        drop_probability: float = 0.0,
        timespans_key: str = "timespans",
    ) -> None:
        hold = [float(probability) for probability in hold_probabilities]
        gym.utils.RecordConstructorArgs.__init__(
            self, hold_probabilities=hold, drop_probability=drop_probability, timespans_key=timespans_key
        )
        if not hold or not all(probability >= 0 for probability in hold) or not np.isclose(sum(hold), 1):
            raise ValueError(f"hold_probabilities must not be negative and must add up to 1, got {hold}")
        if not 0 <= drop_probability < 1:
            raise ValueError(f"drop_probability must be at least 0 and below 1, got {drop_probability!r}")
        space = env.observation_space
        if not isinstance(space, spaces.Dict) or timespans_key not in space.spaces:
            env = TimeDeltaObservation(env, timespans_key=timespans_key)
        elif np.prod(space[timespans_key].shape or ()) != 1:
            raise ValueError(
                f"observation[{timespans_key!r}] must be one number, got {space[timespans_key]}: "
                "put this wrapper inside a frame stack, not around it"
            )
        super().__init__(env)
        entries: Any = env.observation_space  # a Dict, and a sum may be more than a single timespan may
        time = spaces.Box(0, np.inf, entries[timespans_key].shape, np.float32)
        self.observation_space = spaces.Dict({**entries.spaces, timespans_key: time})
        self._probabilities = np.array(hold) / sum(hold)
        self._drop_probability = drop_probability
        self._timespans_key = timespans_key
        self._random = np.random.default_rng()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, Any], Any]:
        """As the environment's; the observation always arrives."""
        if seed is not None:  # spawn_key: a stream of its own, not the environment's
            self._random = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))
        observation, info = self.env.reset(seed=seed, options=options)
        return self._with_time(observation, observation[self._timespans_key].item()), info

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Hold the action until an observation arrives.

        Args:
            action: The action.

        Returns:
            The observation with the time since the last one, the sum of the rewards, whether the episode has
            terminated or been truncated, and the last step's info.
        """
        total, passed, arrived = 0.0, 0.0, False
        while not arrived:
            for _ in range(1 + self._random.choice(len(self._probabilities), p=self._probabilities)):
                observation, reward, terminated, truncated, info = self.env.step(action)
                total += float(reward)
                passed += observation[self._timespans_key].item()
                if terminated or truncated:
                    break
            arrived = terminated or truncated or self._random.random() >= self._drop_probability
        return self._with_time(observation, passed), total, terminated, truncated, info

    def _with_time(self, observation: dict[str, Any], passed: float) -> dict[str, Any]:
        shape = np.shape(observation[self._timespans_key])
        return {**observation, self._timespans_key: np.full(shape, passed, np.float32)}
