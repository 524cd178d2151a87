"""Days between trading days, as the timespans of a liquid policy."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from velora_sb3._validation import check_number


class DaysElapsed(gym.Wrapper[Any, Any, Any, Any]):
    """Adds ``timespans``, the days since the last observation: 1 on weekdays, 3 over a weekend.

    The observation becomes a Dict of ``observation`` and ``timespans``. The first timespan of an episode is one day.
    The last is 0, because the step after the last day does not advance the date.

    Args:
        env: A trading environment with ``date_memory``: this package's, or FinRL's.
        unit: Days per unit of time of the cell. About 1 suits a CfC, 10 an LTC.

    Raises:
        ValueError: If the environment has no ``date_memory`` or ``unit`` is not positive; in ``step``, if a date
            precedes the previous one.
    """

    def __init__(self, env: gym.Env[Any, Any], unit: float = 1.0) -> None:
        super().__init__(env)
        if not env.has_wrapper_attr("date_memory"):
            raise ValueError(f"{env} has no date_memory to compute days from: wrap a stock trading environment")
        self._unit = check_number("unit", unit, above=0)
        timespans = spaces.Box(0, np.inf, (1,), np.float32)
        self.observation_space = spaces.Dict({"observation": env.observation_space, "timespans": timespans})

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Reset the environment; the first timespan is one day."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._date = self._today()
        return self._with_days(observation, 1.0), info

    def step(self, action: Any) -> Any:
        """Step the environment and add the days that have passed."""
        observation, *rest = self.env.step(action)
        before, self._date = self._date, self._today()
        days = (self._date - before) / pd.Timedelta(days=1)
        if days < 0:
            raise ValueError(f"dates go backwards, from {before} to {self._date}: sort the prices by date")
        return self._with_days(observation, days), *rest

    def get_sb_env(self) -> tuple[DummyVecEnv, Any]:
        """A vectorized environment that holds this one, and its first observation."""
        vec_env = DummyVecEnv([lambda: self])
        return vec_env, vec_env.reset()

    @property
    def df(self) -> pd.DataFrame:
        """The prices, which FinRL's ``DRL_prediction`` reads."""
        prices: pd.DataFrame = self.env.get_wrapper_attr("df")
        return prices

    def _today(self) -> pd.Timestamp:
        return pd.Timestamp(self.env.get_wrapper_attr("date_memory")[-1])

    def _with_days(self, observation: Any, days: float) -> dict[str, np.ndarray]:
        timespan = np.array([days / self._unit], np.float32)
        return {"observation": np.asarray(observation, dtype=np.float32), "timespans": timespan}
