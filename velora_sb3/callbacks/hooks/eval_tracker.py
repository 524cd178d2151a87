"""The episodes of evaluations, and the results of those that announce no episodes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.logger import KVWriter

from velora_sb3.callbacks.base.episodes import raw_rewards
from velora_sb3.callbacks.hooks.episode_tracker import EpisodeTracker, raw_observations


class EvalTracker:
    """Follows the episodes in the evaluations of an ``EvalCallback`` of ours, as its listener."""

    def __init__(
        self,
        evaluation: EvalCallback,
        episodes: EpisodeTracker,
        on_start: Callable[[EvalTracker], None],
        on_end: Callable[[EvalTracker], None],
    ) -> None:
        self.evaluation, self.episodes = evaluation, episodes
        self._on_start, self._on_end = on_start, on_end
        self.is_evaluating = False

    def metrics(self) -> dict[str, Any]:
        """Returns and lengths of the latest evaluation."""
        return {"env_runners": summary([(one.get_return(), len(one)) for one in self.episodes.ended])}

    def start(self) -> None:
        """An evaluation starts."""
        self.is_evaluating = True
        self.episodes.running.clear()
        self.episodes.ended.clear()
        self._on_start(self)

    def reset(self, observations: Any) -> None:
        """Start an episode in every environment from which SB3 wants one."""
        env = self.episodes.env
        raw = raw_observations(env, observations)
        for index in range(env.num_envs):
            if self.evaluation.n_eval_episodes + index >= env.num_envs:
                self.episodes.begin(index, raw)

    def step(self, rollout: dict[str, Any]) -> None:
        """One environment took a step."""
        index, env = rollout["i"], self.episodes.env
        # A lost life may look like an end; SB3 counts an episode when Monitor reports one, with Monitor's return.
        recorded = rollout["info"].get("episode") if rollout["is_monitor_wrapped"] else None
        ended = bool(rollout["done"]) and (not rollout["is_monitor_wrapped"] or recorded is not None)
        after = rollout.get("new_observations", rollout["observations"])  # sb3-contrib uses the other name
        observations = raw_observations(env, after)
        reward = float(raw_rewards(env, rollout["rewards"])[index])
        if (episode := self.episodes.running.get(index)) is not None:
            total, length = episode.get_return() + reward, len(episode) + 1
            if ended and recorded is not None:
                total, length = float(recorded["r"]), int(recorded["l"])
            self.episodes.step(index, rollout, observations, reward, total, length, ended)
        if ended and rollout["episode_counts"][index] + 1 < rollout["episode_count_targets"][index]:
            self.episodes.begin(index, observations)

    def end(self) -> None:
        """The evaluation has ended."""
        self.is_evaluating = False
        self._on_end(self)


class EvaluationRows(KVWriter):
    """Collects the results of SB3's own ``EvalCallback``, which announces nothing but a row of the logger."""

    def __init__(self, evaluations: Sequence[EvalCallback], trackers: Sequence[EvalTracker]) -> None:
        self.results: deque[tuple[EvalCallback, dict[str, Any]]] = deque()
        self._evaluations, self._trackers = evaluations, trackers

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Note the row of an evaluation, unless a tracker follows it."""
        if "eval/mean_reward" not in key_values or any(tracker.is_evaluating for tracker in self._trackers):
            return
        mean, length = float(key_values["eval/mean_reward"]), float(key_values["eval/mean_ep_length"])
        found = [one for one in self._evaluations if one.last_mean_reward == mean] or self._evaluations
        metrics = {"num_episodes": found[0].n_eval_episodes, "episode_return_mean": mean, "episode_len_mean": length}
        self.results.append((found[0], {"env_runners": metrics}))

    def close(self) -> None:
        """Nothing is open."""


def summary(episodes: list[tuple[float, int]]) -> dict[str, float]:
    """Returns and lengths of episodes."""
    if not episodes:
        return {"num_episodes": 0}
    returns, lengths = (np.array(values, dtype=float) for values in zip(*episodes, strict=True))
    with np.errstate(invalid="ignore"):  # infinite returns
        mean = float(returns.mean())
    return {
        "num_episodes": len(episodes),
        "episode_return_mean": mean,
        "episode_return_min": float(returns.min()),
        "episode_return_max": float(returns.max()),
        "episode_len_mean": float(lengths.mean()),
    }
