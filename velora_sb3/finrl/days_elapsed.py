"""Days between trading days, as the timespans of a liquid policy."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from velora_sb3._validation import check_number
from velora_sb3.finrl.prices.dates import DAY, read_date, read_dates, usual_step

SAMPLE = 10_000  # rows that tell the usual time between dates


class DaysElapsed(gym.Wrapper[Any, Any, Any, Any]):
    """Adds ``timespans``, the days since the last observation: 1 on weekdays, 3 over a weekend.

    The observation becomes a Dict of ``observation`` and ``timespans``. The first timespan of an episode is the usual
    time between two dates of the prices: one day, or one minute for prices by the minute. The last is 0, because the
    step after the last day does not advance the date.

    Args:
        env: A trading environment with ``date_memory``: this package's, or FinRL's.
        unit: Days per unit of time of the cell. About 1 suits a CfC, 10 an LTC. None for one day, or for the usual time
            between two dates where it is shorter: prices by the minute are then 1 apart, and 1050 over a night.

    Raises:
        ValueError: If the environment has no ``date_memory``, a date of its prices is unreadable or ``unit`` is not
            positive; in ``step``, if a date precedes the previous one.
    """

    def __init__(self, env: gym.Env[Any, Any], unit: float | None = None) -> None:
        super().__init__(env)
        if not env.has_wrapper_attr("date_memory"):
            raise ValueError(f"{env} has no date_memory to compute days from: wrap a stock trading environment")
        self._first = _usual_days(self.df["date"].iloc[:SAMPLE]) if env.has_wrapper_attr("df") else 1.0
        self._unit = min(self._first, 1.0) if unit is None else check_number("unit", unit, above=0)
        timespans = spaces.Box(0, np.inf, (1,), np.float32)
        self.observation_space = spaces.Dict({"observation": env.observation_space, "timespans": timespans})

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Reset the environment; the first timespan is the usual one."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._date = self._today()
        return self._with_days(observation, self._first), info

    def step(self, action: Any) -> Any:
        """Step the environment and add the days that have passed."""
        observation, *rest = self.env.step(action)
        before, self._date = self._date, self._today()
        if (before.tz is None) != (self._date.tz is None):
            raise ValueError(f"one date has a time zone and one has none: {before} and {self._date}")
        days = (self._date - before) / DAY
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
        return read_date(self.env.get_wrapper_attr("date_memory")[-1])

    def _with_days(self, observation: Any, days: float) -> dict[str, np.ndarray]:
        timespan = np.array([days / self._unit], np.float32)
        return {"observation": np.asarray(observation, dtype=np.float32), "timespans": timespan}


def _usual_days(dates: pd.Series) -> float:
    step = usual_step(read_dates(dates.reset_index(drop=True)))
    return 1.0 if step is None else step / DAY
