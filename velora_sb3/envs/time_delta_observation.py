"""The time since the last observation, as an entry of the observation."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
from gymnasium import spaces

from velora_sb3._validation import check_number

# Anywhere but after a year; blanks separate, too.
DAY_OR_MONTH_FIRST = re.compile(r"(?<!\d)(?<!\d{4}[./ -])\d{1,2}([./ -])\d{1,2}\1\d{2,4}\b")
OUT_OF_RANGE = "the time since the last observation must be finite and not negative"


class TimeDeltaObservation(gym.Wrapper[dict[str, Any], Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Add the time since the last observation, under the key that the liquid policies read.

    A Dict observation gets one more entry; any other becomes a Dict with the entries ``observation`` and
    ``timespans``, a Box with one number. The time is ``dt`` at every step, or comes from the environment's ``info``:
    a duration under ``elapsed_key`` or a point in time under ``timestamp_key``, divided by ``unit``.

    The first observation of an episode has no predecessor. Its timespan is ``dt``, so that the cell takes an ordinary
    step from the zero state; with 0 an LTC would ignore the observation.

    Args:
        env: The environment.
        dt: Timespan of an episode's first observation, and without a key of every observation, in the cell's unit.
        elapsed_key: Key in ``info`` of the time since the last observation: a number or a ``timedelta``.
        timestamp_key: Key in ``info``, also after ``reset``, of the time of the observation: a number, a date, or
            text that pandas parses as a date. Dates such as ``"01/02/2024"``, which have the day first in some
            countries and the month in others, raise an error.
        unit: The cell's unit of time: a number, in the unit of ``info``; or a duration that pandas parses, such as
            ``"1min"`` or ``"1D"``. With a number, dates and durations count in seconds; with a duration, numbers in
            ``info`` are seconds.
        timespans_key: Key of the timespans; the policies' argument of that name.

    Raises:
        ValueError: If an argument is invalid, or the observation already has the key. In a step: if ``info`` lacks
            its key, or time runs backwards.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        dt: float = 1.0,
        elapsed_key: str | None = None,
        timestamp_key: str | None = None,
        unit: float | str | timedelta | np.timedelta64 = 1.0,
        timespans_key: str = "timespans",
    ) -> None:
        gym.utils.RecordConstructorArgs.__init__(
            self, dt=dt, elapsed_key=elapsed_key, timestamp_key=timestamp_key, unit=unit, timespans_key=timespans_key
        )
        super().__init__(env)
        if elapsed_key is not None and timestamp_key is not None:
            raise ValueError("elapsed_key and timestamp_key are mutually exclusive: pass only one")
        self._dt = check_number("dt", dt, above=0)
        self._unit = check_number("unit", _seconds(unit) if _number(unit) is None else unit, above=0)
        self._elapsed_key, self._timestamp_key, self._timespans_key = elapsed_key, timestamp_key, timespans_key
        space = env.observation_space
        entries = dict(space.spaces) if isinstance(space, spaces.Dict) else {"observation": space}
        if timespans_key in entries:
            raise ValueError(f"the observation already has an entry {timespans_key!r}: choose another timespans_key")
        time = spaces.Box(0, np.inf, (1,), np.float32)
        self.observation_space = spaces.Dict({**entries, timespans_key: time})

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, Any], Any]:
        """Reset the environment; the timespan is ``dt``."""
        observation, info = self.env.reset(seed=seed, options=options)
        if self._timestamp_key is not None:
            self._last = _point_in_time(self._read(info, self._timestamp_key))
        return self._with_time(observation, self._dt), info

    def step(self, action: Any) -> tuple[dict[str, Any], Any, bool, bool, dict[str, Any]]:
        """Step the environment, and add the time that has passed."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._with_time(observation, self._passed(info)), reward, terminated, truncated, info

    def _passed(self, info: dict[str, Any]) -> float:
        """The time since the last observation, in units."""
        if self._elapsed_key is not None:
            value = self._read(info, self._elapsed_key)
            number = _number(value)
            passed = _seconds(value) if number is None else number
            if not 0 <= passed < math.inf:
                raise ValueError(f"info[{self._elapsed_key!r}] is {value!r}: {OUT_OF_RANGE}")
        elif self._timestamp_key is not None:
            before, now = self._last, _point_in_time(self._read(info, self._timestamp_key))
            if isinstance(before, pd.Timestamp) != isinstance(now, pd.Timestamp):
                problem = "use dates or numbers, not both"
            elif (getattr(before, "tzinfo", None) is None) != (getattr(now, "tzinfo", None) is None):
                problem = "give all times a time zone, or none"
            else:
                difference: Any = now - before  # type: ignore[operator]
                self._last = now
                passed = difference.total_seconds() if isinstance(now, pd.Timestamp) else difference
                problem = "" if 0 <= passed < math.inf else OUT_OF_RANGE
            if problem:
                raise ValueError(f"info[{self._timestamp_key!r}] changed from {before!r} to {now!r}: {problem}")
        else:
            return self._dt
        return passed / self._unit

    def _read(self, info: dict[str, Any], key: str) -> Any:
        if key not in info:
            hint = "; reset() must return a timestamp too" if key == self._timestamp_key else ""
            raise ValueError(f"info has no key {key!r}; it has {', '.join(map(repr, info)) or 'none'}{hint}")
        return info[key]

    def _with_time(self, observation: Any, timespan: float) -> dict[str, Any]:
        entries = observation if isinstance(self.env.observation_space, spaces.Dict) else {"observation": observation}
        return {**entries, self._timespans_key: np.array([timespan], np.float32)}


def _single(value: Any) -> Any:
    """The entry of an array of size one; anything else unchanged."""
    return value.reshape(-1)[0] if isinstance(value, np.ndarray) and value.size == 1 else value


def _number(value: Any) -> float | None:
    """The value as a number of Python's, integers exact, as nanoseconds need it; None if it is not a number."""
    value = _single(value)
    if isinstance(value, bool | np.timedelta64):  # integers to Python
        return None
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real | Decimal) else None


def _seconds(duration: Any) -> float:
    value = _single(duration)
    try:
        if isinstance(value, str) and not any(map(str.isalpha, value)) and ":" not in value:
            raise ValueError("no unit")  # which pandas takes for nanoseconds
        return float(pd.Timedelta(value).total_seconds())
    except (TypeError, ValueError) as error:
        raise ValueError(f"{duration!r} is neither a number nor a duration such as '1min' or '1D'") from error


def _point_in_time(value: Any) -> float | pd.Timestamp:
    number = _number(value)
    if number is not None:
        return number
    if isinstance(_single(value), str) and DAY_OR_MONTH_FIRST.search(_single(value)):
        raise ValueError(f"{value!r} may have the day or the month first: write dates as 2024-01-31")
    try:
        moment = pd.Timestamp(_single(value))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{value!r} is neither a number nor a date") from error
    if pd.isna(moment):  # of None, NaT or an empty text
        raise ValueError(f"the time is missing: {value!r} is neither a number nor a date")
    return moment
