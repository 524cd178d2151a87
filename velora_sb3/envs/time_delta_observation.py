"""The time since the last observation, as part of the observation."""

from __future__ import annotations

import math
from datetime import timedelta
from numbers import Real
from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
from gymnasium import spaces


class TimeDeltaObservation(gym.Wrapper[dict[str, Any], Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Adds the time since the last observation, under the key that the liquid policies read.

    A Dict observation gets one more entry. Any other becomes a Dict of ``observation`` and ``timespans``, a Box with
    one number. That number is ``dt`` at every step, or what the environment's ``info`` says: ``elapsed_key`` names a
    duration, ``timestamp_key`` a point in time, both divided by ``unit``.

    The first observation of an episode has none before it. Its timespan is ``dt``, so that the cell takes an ordinary
    step from the zero state; with 0 an LTC would not see it at all.

    Args:
        env: The environment.
        dt: The timespan of an episode's first observation, and of every other unless ``info`` tells. In the unit in
            which the cell counts.
        elapsed_key: Key in ``info`` of the time since the last observation: a number, or a ``timedelta``.
        timestamp_key: Key in ``info``, at ``reset`` too, of the time of the observation: a number, a date, or text
            that pandas reads as a date.
        unit: What the cell counts as 1: a number, in the unit of what stands in ``info``; or a duration that pandas
            reads, such as ``"1min"`` or ``"1D"``. Dates and durations are in seconds if it is a number, numbers are
            seconds if it is a duration.
        timespans_key: Key of the timespans; the policies' argument of that name.

    Raises:
        ValueError: If an argument cannot be used, or the observation has the key already. While stepping: if ``info``
            lacks the key, or time does not go forward.
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
            raise ValueError("info tells either the time that has passed or the time: pass one of the two keys")
        self._dt = _positive("dt", dt)
        self._unit = _positive("unit", unit if _number(unit) is not None else _seconds(unit))
        self._elapsed_key, self._timestamp_key, self._timespans_key = elapsed_key, timestamp_key, timespans_key
        space = env.observation_space
        entries = dict(space.spaces) if isinstance(space, spaces.Dict) else {"observation": space}
        if timespans_key in entries:
            raise ValueError(f"the observation has an entry {timespans_key!r} already: choose another timespans_key")
        time = spaces.Box(0, np.inf, (1,), np.float32)
        self.observation_space = spaces.Dict({**entries, timespans_key: time})

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, Any], Any]:
        """As the environment's; the timespan is ``dt``."""
        observation, info = self.env.reset(seed=seed, options=options)
        if self._timestamp_key is not None:
            self._last = _point_in_time(self._read(info, self._timestamp_key))
        return self._with_time(observation, self._dt), info

    def step(self, action: Any) -> tuple[dict[str, Any], Any, bool, bool, dict[str, Any]]:
        """As the environment's, with the time that has passed."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._with_time(observation, self._passed(info)), reward, terminated, truncated, info

    def _passed(self, info: dict[str, Any]) -> float:
        """The time since the last observation, in units."""
        if self._elapsed_key is not None:
            said = self._read(info, self._elapsed_key)
            number = _number(said)
            passed = _seconds(said) if number is None else number
            told = f"info[{self._elapsed_key!r}] is {said!r}"
        elif self._timestamp_key is not None:
            before, now = self._last, _point_in_time(self._read(info, self._timestamp_key))
            if isinstance(before, pd.Timestamp) != isinstance(now, pd.Timestamp):
                raise ValueError(f"info[{self._timestamp_key!r}] went from {before!r} to {now!r}: a date, or a number?")
            difference: Any = now - before  # type: ignore[operator]
            self._last = now
            passed = difference.total_seconds() if isinstance(now, pd.Timestamp) else difference
            told = f"info[{self._timestamp_key!r}] went from {before!r} to {now!r}"
        else:
            return self._dt
        if not 0 <= passed < math.inf:
            raise ValueError(f"{told}: the time since the last observation must be finite and not negative")
        return passed / self._unit

    def _read(self, info: dict[str, Any], key: str) -> Any:
        if key not in info:
            hint = "; timestamps are needed at reset too" if key == self._timestamp_key else ""
            raise ValueError(f"info has no {key!r}, it has {', '.join(map(repr, info)) or 'nothing'}{hint}")
        return info[key]

    def _with_time(self, observation: Any, timespan: float) -> dict[str, Any]:
        entries = observation if isinstance(self.env.observation_space, spaces.Dict) else {"observation": observation}
        return {**entries, self._timespans_key: np.array([timespan], np.float32)}


def _positive(name: str, value: Any) -> float:
    number = _number(value)
    if number is None or not 0 < number < math.inf:
        raise ValueError(f"{name} must be positive and finite, got {value!r}")
    return number


def _single(value: Any) -> Any:
    """What stands in an array of one; anything else as it is."""
    return value.reshape(-1)[0] if isinstance(value, np.ndarray) and value.size == 1 else value


def _number(value: Any) -> float | None:
    """A number; None if it is something else."""
    value = _single(value)
    # numpy counts its durations among the integers
    is_number = isinstance(value, Real) and not isinstance(value, bool | np.timedelta64)
    return float(value) if is_number else None


def _seconds(duration: Any) -> float:
    try:
        return float(pd.Timedelta(_single(duration)).total_seconds())
    except (TypeError, ValueError) as error:
        raise ValueError(f"{duration!r} is neither a number nor a duration such as '1min' or '1D'") from error


def _point_in_time(value: Any) -> float | pd.Timestamp:
    number = _number(value)
    if number is not None:
        return number
    try:
        return pd.Timestamp(_single(value))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{value!r} is neither a number nor a date") from error
