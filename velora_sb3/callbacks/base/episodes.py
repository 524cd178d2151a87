"""The episodes of training, counted once for all callbacks."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecNormalize, unwrap_vec_wrapper


@dataclass(frozen=True)
class Episode:
    """One finished episode of training.

    Attributes:
        number: 1 for the first episode that ended.
        episode_return: Sum of its rewards, before any normalization.
        length: Number of steps.
        timestep: ``num_timesteps`` when it ended; for ARS when its rollout ended.
        env_index: Index of its vectorized environment; for ARS always 0.
    """

    number: int
    episode_return: float
    length: int
    timestep: int
    env_index: int


class EpisodeCounter:
    """Sums the rewards of a model's training environments, episode by episode.

    All callbacks of a model share one counter, so each step is counted once. It needs no ``Monitor``: it reads
    ``rewards`` and ``dones`` of SB3's rollouts, and under ``VecNormalize`` the original rewards. ARS exposes neither to
    callbacks; its episodes come from ``ep_info_buffer`` at the end of each rollout.

    An episode is left out if its first steps were missed: it was running when the first callback joined.

    Args:
        n_envs: Number of vectorized environments.

    Attributes:
        finished: Number of episodes that have ended.
        latest: The episodes that ended with the latest step, in the order of the environments.
        rewards: The rewards of the latest step, before any normalization, ``(n_envs,)``.
    """

    def __init__(self, n_envs: int) -> None:
        self.finished = 0
        self._returns = np.zeros(n_envs)
        self._lengths = np.zeros(n_envs, dtype=np.int64)
        self._whole = np.ones(n_envs, dtype=bool)  # False where the first steps of the running episode were missed
        self._timestep = 0
        self.latest: list[Episode] = []
        self.rewards = np.zeros(n_envs)
        self._rollout = 0  # num_timesteps at the end of the last rollout of ARS
        self._observations: list[Any] = []  # one of these is _last_obs unless the environments were reset

    @staticmethod
    def of(model: BaseAlgorithm) -> EpisodeCounter:
        """The counter that all callbacks of a model share.

        Args:
            model: The model, with its environments.

        Returns:
            The model's counter; a new one if the number of environments has changed.
        """
        counter = _COUNTERS.get(model)
        if counter is None or len(counter._returns) != model.n_envs:
            finished = 0 if counter is None else counter.finished
            counter = _COUNTERS[model] = EpisodeCounter(model.n_envs)
            counter.finished = finished
        return counter

    def start(self, model: BaseAlgorithm, dones: np.ndarray | None = None) -> None:
        """Prepare for ``learn()``: keep running episodes that continue, drop those that do not.

        Args:
            model: The model.
            dones: Which episodes ended with the latest step, ``(n_envs,)``, if a callback joins during training.
        """
        timestep, known = model.num_timesteps, self._observations
        if timestep == 0:  # SB3 has reset the environments
            self.finished = 0
            self._forget(np.ones_like(self._whole))
        elif timestep != self._timestep:  # trained without callbacks in between
            self._forget(~_in_flight(model) if dones is None else np.asarray(dones, dtype=bool))
        elif known and not any(model._last_obs is observation for observation in known):  # reset, as after set_env
            self._forget(np.ones_like(self._whole))
        self._timestep, self.latest, self._rollout, self._observations = timestep, [], timestep, []

    def is_up_to_date(self, timestep: int) -> bool:
        """Whether every step up to a timestep was counted.

        Args:
            timestep: ``num_timesteps``.

        Returns:
            False if no callback could count, as when the only one is a ``callback_on_new_best``.
        """
        return max(self._timestep, self._rollout) > timestep - len(self._returns)

    def running(self, index: int) -> tuple[int, float] | None:
        """Length and return of a running episode so far.

        Args:
            index: Index of the vectorized environment.

        Returns:
            Its number of steps and the sum of its rewards; None if its first steps were missed.
        """
        return (int(self._lengths[index]), float(self._returns[index])) if self._whole[index] else None

    def step(self, model: BaseAlgorithm, rollout: dict[str, Any]) -> list[Episode]:
        """Count a step of the environments; repeated calls for the same step count it once.

        Args:
            model: The model.
            rollout: A callback's ``locals``.

        Returns:
            The episodes that ended with this step, in the order of the environments.
        """
        timestep = model.num_timesteps
        if timestep == self._timestep:
            return self.latest
        rewards, dones = rollout.get("rewards"), rollout.get("dones")
        if rewards is None or dones is None:  # ARS, or a callback that SB3 gives no locals
            return []
        n_envs = len(self._returns)
        if timestep - self._timestep > n_envs:  # steps in between were not counted
            self._whole[:] = False
        normalizer = unwrap_vec_wrapper(model.env, VecNormalize) if model.env is not None else None
        if isinstance(normalizer, VecNormalize):
            rewards = normalizer.get_original_reward()
        self.rewards = rewards
        self._returns += rewards
        self._lengths += 1
        self._timestep, self.latest = timestep, []
        if "new_obs" in rollout:  # SB3's next _last_obs; if training stops here, it stays what it is
            self._observations = [model._last_obs, rollout["new_obs"]]
        if dones.any():
            ended = [int(index) for index in np.flatnonzero(dones)]
            self.latest = [self._finish(index) for index in ended if self._end_of_whole(index)]
        return self.latest

    def rollout_end(self, model: BaseAlgorithm, rollout: dict[str, Any]) -> list[Episode]:
        """The episodes of a rollout of ARS, which exposes no steps.

        Args:
            model: The model.
            rollout: A callback's ``locals``.

        Returns:
            The episodes, the same for every call after a rollout; none for other algorithms.
        """
        if "rewards" in rollout or not model.ep_info_buffer:
            return []
        timestep = model.num_timesteps
        if self._rollout != timestep:
            self._rollout, self.latest = timestep, []
            for info in model.ep_info_buffer:
                self.finished += 1
                self.latest.append(Episode(self.finished, float(info["r"]), int(info["l"]), timestep, 0))
        return self.latest

    def state_dict(self) -> dict[str, Any]:
        """The counts, as plain data."""
        return {
            "finished": self.finished,
            "returns": self._returns.tolist(),
            "lengths": self._lengths.tolist(),
            "whole": self._whole.tolist(),
            "timestep": self._timestep,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state.

        Args:
            state: A state from :meth:`state_dict`. Running episodes are restored only at the same timestep, with the
                same number of environments, and if the state has ``returns``; otherwise only ``finished`` is.
        """
        self.finished = int(state["finished"])
        if "returns" not in state:
            self._forget(np.ones_like(self._whole))
        if len(state.get("returns", ())) == len(self._returns) and state["timestep"] == self._timestep:
            self._returns[:], self._lengths[:], self._whole[:] = state["returns"], state["lengths"], state["whole"]

    def _forget(self, whole: np.ndarray) -> None:
        """Reset all sums; ``whole`` says in which environments an episode starts now."""
        self._returns[:] = self._lengths[:] = 0
        self._whole[:] = whole

    def _end_of_whole(self, index: int) -> bool:
        """Whether the episode that has just ended was counted from its start; the next one is."""
        whole = bool(self._whole[index])
        if not whole:
            self._returns[index] = self._lengths[index] = 0
            self._whole[index] = True
        return whole

    def _finish(self, index: int) -> Episode:
        self.finished += 1
        episode = Episode(self.finished, float(self._returns[index]), int(self._lengths[index]), self._timestep, index)
        self._returns[index] = self._lengths[index] = 0
        return episode


def _in_flight(model: BaseAlgorithm) -> np.ndarray:
    """Which environments of a model that has trained before are in mid-episode."""
    buffer = getattr(model, "replay_buffer", None)
    if buffer is not None:  # off-policy algorithms do not keep _last_episode_starts
        return np.asarray(buffer.dones[buffer.pos - 1] == 0) if buffer.size() else np.zeros(model.n_envs, dtype=bool)
    return ~np.asarray(model._last_episode_starts, dtype=bool)


_COUNTERS: weakref.WeakKeyDictionary[BaseAlgorithm, EpisodeCounter] = weakref.WeakKeyDictionary()
