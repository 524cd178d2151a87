"""Environments that follow a script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike

Info = Mapping[str, Any]


class Script:
    """The steps of a run; arguments as for ``run_callback``."""

    def __init__(
        self,
        rewards: ArrayLike,
        dones: ArrayLike | None,
        truncations: ArrayLike | None,
        observations: ArrayLike | None,
        infos: Sequence[Info | Sequence[Info]] | None,
        raises: tuple[int, BaseException] | None,
    ) -> None:
        self.rewards = _by_env("rewards", rewards, float)
        steps, self.n_envs = self.rewards.shape
        if not steps or not self.n_envs:
            raise ValueError("rewards must have at least one step and one environment")
        last = np.arange(steps)[:, None] == steps - 1
        nowhere = np.zeros_like(self.rewards, dtype=bool)
        self.dones = last | nowhere if dones is None else _by_env("dones", dones, bool)
        self.truncations = nowhere if truncations is None else _by_env("truncations", truncations, bool)
        if observations is None:
            self.observations = np.zeros((steps + 1, self.n_envs, 1))
        else:
            seen = np.asarray(observations)
            seen = seen if np.ndim(rewards) == 2 else seen[:, None]
            self.observations = seen[..., None] if seen.ndim == 2 else seen  # scalars become vectors of length 1
        self.infos = [{}] * steps if infos is None else list(infos)
        self.raises = raises
        expected = {"dones": self.rewards.shape, "truncations": self.rewards.shape}
        expected["observations"] = (steps + 1, self.n_envs)
        for name, shape in expected.items():
            if (got := getattr(self, name).shape[:2]) != shape:
                raise ValueError(f"{name} must have shape {shape} for {steps} steps, got {got}")
        if len(self.infos) != steps:
            raise ValueError(f"infos must have an entry for each of the {steps} steps, got {len(self.infos)}")

    def __len__(self) -> int:
        """Number of steps."""
        return len(self.rewards)

    def info(self, step: int, index: int) -> dict[str, Any]:
        """The info of one environment at a step, as a new dict."""
        entry = self.infos[step]
        return dict(entry if isinstance(entry, Mapping) else entry[index])


class ScriptedEnv(gym.Env[np.ndarray, int]):
    """One environment of a script.

    Args:
        script: The script.
        index: Index of the environment.
    """

    def __init__(self, script: Script, index: int) -> None:
        shape = script.observations.shape[2:]
        self.observation_space = spaces.Box(-np.inf, np.inf, shape, np.float32)
        self.action_space = spaces.Discrete(2)  # type: ignore[assignment]
        self._script, self._index, self._step = script, index, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, Info]:  # type: ignore[override]
        """The current observation: a script cannot start over."""
        return self._observation(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """The next scripted step, whatever the action."""
        script, now = self._script, self._step
        if script.raises is not None and now == script.raises[0]:
            raise script.raises[1]
        if now == len(script):
            raise RuntimeError(f"the script has only {now} steps")
        self._step += 1
        place = now, self._index
        ends = bool(script.dones[place]), bool(script.truncations[place])
        return self._observation(), float(script.rewards[place]), *ends, script.info(*place)

    def _observation(self) -> np.ndarray:
        return np.asarray(self._script.observations[self._step, self._index], dtype=np.float32)


def _by_env(name: str, values: ArrayLike, dtype: type) -> np.ndarray:
    array: np.ndarray = np.asarray(values, dtype=dtype)
    if array.ndim not in (1, 2):
        raise ValueError(f"{name} must have shape (T,) or (T, n_envs), got {array.shape}")
    return array[:, None] if array.ndim == 1 else array
