"""Values at the end of episodes, such as that of a portfolio."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

from stable_baselines3.common.vec_env import VecEnv

ATTRIBUTE = "asset_memory"  # in FinRL's environments, the portfolio's value at every step of the episode
Value: TypeAlias = "str | Callable[[dict[str, Any]], float] | None"


class EpisodeValues:
    """The value at the end of each episode.

    SB3 resets an environment, and with it ``asset_memory``, before callbacks see the step that ended its episode, so
    the list of the previous step is kept. An environment in this process has added the last value to that same list;
    one in another process has sent a copy without it.
    """

    def __init__(self, value: Value) -> None:
        if value is not None and not callable(value) and not (isinstance(value, str) and value):
            raise ValueError(f"value must be a key of info, a function of info, or None, got {value!r}")
        self._value = value
        self._env: VecEnv | None = None  # None if it has no lists
        self._lists: list[Sequence[float]] = []
        self._latest: list[float] = []
        self.ended: dict[tuple[int, int], float] = {}  # by timestep and environment, until pop()

    def start(self, env: VecEnv) -> None:
        """Training starts."""
        self._env = None
        # An environment in another process dies when asked for a missing attribute, so has_attr comes first.
        with suppress(AttributeError, NotImplementedError):
            if self._value is None and env.has_attr(ATTRIBUTE):
                self._env = env
                self._keep(env.get_attr(ATTRIBUTE))

    def step(self, timestep: int, rollout: dict[str, Any], ended: Sequence[int]) -> None:
        """Process one step, after which the episodes of some environments have ended."""
        infos = rollout.get("infos")
        if infos is None:  # ARS
            return
        lists = self._env.get_attr(ATTRIBUTE) if self._env is not None else []
        for index in ended:
            if self._env is not None:
                before, emptied = self._lists[index], lists[index] is self._lists[index]
                self.ended[timestep, index] = self._latest[index] if emptied else _last(before)
            elif self._value is not None:
                self.ended[timestep, index] = self._from_info(infos[index])
        if self._env is not None:
            self._keep(lists)

    def pop(self, timestep: int, index: int) -> float:
        """Remove and return the value at the end of an episode; NaN if there is none."""
        return self.ended.pop((timestep, index), math.nan)

    def _keep(self, lists: list[Sequence[float]]) -> None:
        self._lists, self._latest = lists, [_last(values) for values in lists]

    def _from_info(self, info: dict[str, Any]) -> float:
        if callable(self._value):
            return float(self._value(info))
        if self._value not in info:
            keys = ", ".join(sorted(map(str, info))) or "no keys"
            raise ValueError(f"value={self._value!r} is not in info at the end of an episode; info has {keys}")
        return float(info[self._value])


def _last(values: Sequence[float]) -> float:
    return float(values[-1]) if len(values) else math.nan
