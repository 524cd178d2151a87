"""The days between two trading days, for the clock of a liquid policy."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv


class DaysElapsed(gym.Wrapper[Any, Any, Any, Any]):
    """Adds ``timespans``, the days since the last observation, to a trading environment: 1, and 3 over a weekend.

    The observation becomes a Dict of ``observation`` and ``timespans``. The first observation of an episode has a
    timespan of one day. The last step of an episode, which is no new day, has 0.

    Args:
        env: A trading environment with ``date_memory``: ours, or FinRL's.
        unit: How many days the cell counts as 1. About 1 suits a CfC, 10 an LTC.

    Raises:
        ValueError: If the environment has no ``date_memory``, or ``unit`` is not positive. While stepping: if a date
            is not after the one before.
    """

    def __init__(self, env: gym.Env[Any, Any], unit: float = 1.0) -> None:
        super().__init__(env)
        if not env.has_wrapper_attr("date_memory"):
            raise ValueError(f"{env} has no date_memory, from which the days could be told: use a stock trading env")
        if not 0 < unit < math.inf:
            raise ValueError(f"unit must be positive and finite, got {unit!r}")
        self._unit = unit
        clock = spaces.Box(0, np.inf, (1,), np.float32)
        self.observation_space = spaces.Dict({"observation": env.observation_space, "timespans": clock})

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """As the environment's."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._date = self._today()
        return self._with_days(observation, 1.0), info

    def step(self, action: Any) -> Any:
        """As the environment's, with the days that have passed."""
        observation, *rest = self.env.step(action)
        before, self._date = self._date, self._today()
        days = (self._date - before) / pd.Timedelta(days=1)
        if days < 0:
            raise ValueError(f"time goes back, from {before} to {self._date}: sort the prices by date")
        return self._with_days(observation, days), *rest

    def get_sb_env(self) -> tuple[DummyVecEnv, Any]:
        """This environment as a vectorized one, and its first observation."""
        vec_env = DummyVecEnv([lambda: self])
        return vec_env, vec_env.reset()

    @property
    def df(self) -> pd.DataFrame:
        """The prices, which FinRL's prediction asks for."""
        prices: pd.DataFrame = self.env.get_wrapper_attr("df")
        return prices

    def _today(self) -> pd.Timestamp:
        return pd.Timestamp(self.env.get_wrapper_attr("date_memory")[-1])

    def _with_days(self, observation: Any, days: float) -> dict[str, np.ndarray]:
        timespan = np.array([days / self._unit], np.float32)
        return {"observation": np.asarray(observation, dtype=np.float32), "timespans": timespan}
