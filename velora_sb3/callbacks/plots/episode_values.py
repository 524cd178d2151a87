"""What something was worth when an episode ended, such as a portfolio."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

ATTRIBUTE = "asset_memory"  # of FinRL's environments: the portfolio's value at every step of the episode
Value: TypeAlias = "str | Callable[[dict[str, Any]], float] | None"


class EpisodeValues:
    """The value at the end of each episode.

    SB3 resets an environment before callbacks hear of the step that ended its episode, and with it ``asset_memory``.
    So the list of the step before is kept. An environment in this process has put the last value into that very list;
    one in another process has sent a copy, which lacks what the last step may have added.
    """

    def __init__(self, value: Value) -> None:
        if value is not None and not callable(value) and not (isinstance(value, str) and value):
            raise ValueError(f"value must be a key of info, a function of info, or None, got {value!r}")
        self._value = value
        self._env: VecEnv | None = None  # to be asked for its lists
        self._lists: list[Sequence[float]] = []
        self._latest: list[float] = []
        self._ended: dict[tuple[int, int], float] = {}

    def start(self, env: VecEnv) -> None:
        """Training starts."""
        self._env, self._ended = None, {}
        # An environment in another process dies of a question for what it has not, so has_attr comes first.
        with suppress(AttributeError, NotImplementedError):
            if self._value is None and env.has_attr(ATTRIBUTE):
                self._env = env
                self._keep(env.get_attr(ATTRIBUTE))

    def step(self, timestep: int, rollout: dict[str, Any]) -> None:
        """Take in one step."""
        dones, infos = rollout.get("dones"), rollout.get("infos")
        if dones is None or infos is None:
            return
        lists = self._env.get_attr(ATTRIBUTE) if self._env is not None else []
        for index in np.flatnonzero(dones).tolist():
            if self._env is not None:
                before, emptied = self._lists[index], lists[index] is self._lists[index]
                self._ended[timestep, index] = self._latest[index] if emptied else _last(before)
            elif self._value is not None:
                self._ended[timestep, index] = self._ask(infos[index])
        if self._env is not None:
            self._keep(lists)

    def take(self, timestep: int, index: int) -> float:
        """The value at the end of an episode, once."""
        return self._ended.pop((timestep, index), math.nan)

    def _keep(self, lists: list[Sequence[float]]) -> None:
        self._lists, self._latest = lists, [_last(values) for values in lists]

    def _ask(self, info: dict[str, Any]) -> float:
        if callable(self._value):
            return float(self._value(info))
        if self._value not in info:
            known = ", ".join(sorted(map(str, info))) or "nothing"
            raise ValueError(f"value={self._value!r} is not in info at the end of an episode, which has {known}")
        return float(info[self._value])


def _last(values: Sequence[float]) -> float:
    return float(values[-1]) if len(values) else math.nan
