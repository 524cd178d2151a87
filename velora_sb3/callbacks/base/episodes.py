"""The episodes of training, counted once for all callbacks."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import RecordEpisodeStatistics
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecMonitor, VecNormalize, is_vecenv_wrapped

from velora_sb3._call_env import EnvOutOfReachError, call_env, vec_layers

# The attribute that holds the length, or the rewards, of the episode that a monitor is recording.
MONITORS = {Monitor: "rewards", RecordEpisodeStatistics: "episode_lengths"}


@dataclass(frozen=True)
class Episode:
    """One finished episode of training.

    Attributes:
        number: 1 for the first episode that ended.
        episode_return: The return in SB3's log: ``Monitor``'s; without one, the sum of rewards before ``VecNormalize``.
        length: Number of steps, likewise.
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

    All callbacks of a model share one counter, so each step is counted once. Episodes are those of SB3's log: where
    ``Monitor`` reports one in ``info["episode"]``, its return and length count, whatever wrappers outside it do to
    rewards; while it is still recording, as after a lost life, no episode has ended. Without ``Monitor``, or with a
    ``VecMonitor`` outside ``VecNormalize``, the counter sums the rewards before ``VecNormalize``. ARS exposes no steps
    to callbacks; its episodes come from ``ep_info_buffer`` at the end of each rollout.

    An episode is left out if its first steps were missed: it was running when the first callback joined.

    Args:
        n_envs: Number of vectorized environments.

    Attributes:
        finished: Number of episodes that have ended.
        latest: The episodes that ended with the latest step, in the order of the environments.
        ended: Indices of the environments whose episode ended with the latest step, also if it is left out.
        rewards: The rewards of the latest step, before any normalization, ``(n_envs,)``.
    """

    def __init__(self, n_envs: int) -> None:
        self.finished = 0
        self._returns = np.zeros(n_envs)
        self._lengths = np.zeros(n_envs, dtype=np.int64)
        self._whole = np.ones(n_envs, dtype=bool)  # False where the first steps of the running episode were missed
        self._timestep = 0
        self.latest: list[Episode] = []
        self.ended: list[int] = []
        self._is_monitored = True  # whether the environments have a monitor; True if not known yet
        self._is_normalized = False  # whether the monitor records rewards after VecNormalize
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
        self.ended, self._is_monitored, self._is_normalized = [], True, _monitors_normalized(model.env)

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
        assert model.env is not None
        self.rewards = np.asarray(raw_rewards(model.env, rewards), dtype=np.float64).reshape(n_envs)
        self._returns += self.rewards
        self._lengths += 1
        self._timestep, self.latest, self.ended = timestep, [], []
        if "new_obs" in rollout:  # SB3's next _last_obs; if training stops here, it stays what it is
            self._observations = [model._last_obs, rollout["new_obs"]]
        infos = rollout.get("infos") or [{}] * n_envs  # none from some algorithms of others
        for index, (done, info) in enumerate(zip(dones.tolist(), infos, strict=True)):
            recorded = info.get("episode")
            if recorded is not None and not self._is_normalized:  # what SB3 logs
                self._end(index, float(recorded["r"]), int(recorded["l"]))
            elif recorded is not None or (done and not self._is_recording(model.env, index)):
                self._end(index, float(self._returns[index]), int(self._lengths[index]))
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

    def _end(self, index: int, episode_return: float, length: int) -> None:
        """End the running episode; it counts unless its first steps were missed."""
        if self._whole[index]:
            self.finished += 1
            self.latest.append(Episode(self.finished, episode_return, length, self._timestep, index))
        self.ended.append(index)
        self._returns[index] = self._lengths[index] = 0
        self._whole[index] = True

    def _is_recording(self, env: VecEnv, index: int) -> bool:
        """Whether a monitor inside other wrappers is still in the episode that has ended for the algorithm."""
        recorded = _recorded_length(env, index) if self._is_monitored else None
        if recorded is None:
            self._is_monitored = False
            return is_vecenv_wrapped(env, VecMonitor)
        # A time limit outside the monitor resets it, and its next episode has just begun.
        return bool(recorded >= self._lengths[index])


def raw_rewards(env: VecEnv, rewards: np.ndarray) -> np.ndarray:
    """The rewards of the latest step before any ``VecNormalize``, ``(n_envs,)``."""
    for layer in vec_layers(env):
        if isinstance(layer, VecNormalize):
            rewards = layer.old_reward
    return rewards


def _monitors_normalized(env: VecEnv | None) -> bool:
    """Whether the outermost ``VecMonitor`` is outside a ``VecNormalize``."""
    while isinstance(env, VecEnvWrapper) and not isinstance(env, VecMonitor):
        env = env.venv
    return isinstance(env, VecMonitor) and is_vecenv_wrapped(env, VecNormalize)


def _recorded_length(env: VecEnv, index: int) -> int | None:
    """Length of the episode that an environment's monitor is recording; None if it has no monitor."""
    try:
        length: int | None = call_env(env, _length_at_monitor, index)
    except EnvOutOfReachError:  # vectorized environments that hold no single ones
        return None
    return length


def _length_at_monitor(env: gym.Env[Any, Any]) -> int | None:
    while isinstance(env, gym.Wrapper):
        for kind, name in MONITORS.items():
            if isinstance(env, kind):  # not get_attr(): a wrapper outside may have an attribute of that name
                recorded = getattr(env, name)
                return recorded if isinstance(recorded, int) else len(recorded)
        env = env.env
    return None


def _in_flight(model: BaseAlgorithm) -> np.ndarray:
    """Which environments of a model that has trained before are in mid-episode."""
    buffer = getattr(model, "replay_buffer", None)
    if buffer is None:
        return ~np.asarray(model._last_episode_starts, dtype=bool)
    if not buffer.size():  # off-policy algorithms do not keep _last_episode_starts
        return np.zeros(model.n_envs, dtype=bool)
    # After load() SB3 resets the environments: the observation is then not the one that the last step led to.
    stored = buffer.observations if buffer.optimize_memory_usage else buffer.next_observations
    last = model._last_obs if model._vec_normalize_env is None else model._last_original_obs
    row = buffer.pos if buffer.optimize_memory_usage else buffer.pos - 1
    pairs = [(stored[key], last[key]) for key in stored] if isinstance(last, dict) else [(stored, last)]
    follows = [np.asarray(now, old.dtype).reshape(old[row].shape) == old[row] for old, now in pairs]
    unchanged = np.all([equal.reshape(model.n_envs, -1).all(axis=1) for equal in follows], axis=0)
    return np.asarray((buffer.dones[buffer.pos - 1] == 0) & unchanged)


_COUNTERS: weakref.WeakKeyDictionary[BaseAlgorithm, EpisodeCounter] = weakref.WeakKeyDictionary()
