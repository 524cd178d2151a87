"""Calls the hooks of every ``EpisodeCallback`` of a training run."""

from __future__ import annotations

import time
import warnings
from collections import deque
from collections.abc import Sequence
from numbers import Number
from typing import Any, Protocol

from sb3_contrib import ARS
from stable_baselines3.common import callbacks as sb3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from velora_sb3.callbacks.base.episodes import Episode, EpisodeCounter
from velora_sb3.callbacks.base.tables import excluded
from velora_sb3.callbacks.hooks.episode_tracker import EpisodeTracker, raw_observations
from velora_sb3.callbacks.hooks.eval_callback import EvalCallback
from velora_sb3.callbacks.hooks.eval_tracker import EvalTracker, EvaluationRows, summary
from velora_sb3.callbacks.hooks.metrics_logger import MetricsLogger, MetricsWriter
from velora_sb3.callbacks.hooks.signatures import EPISODE_HOOKS, EVALUATION_HOOKS, HOOKS, Hook
from velora_sb3.checkpoints.resume import RestoreRandomness

LATEST_EPISODES = 100  # as many as SB3 averages over


class HookCallback(Protocol):
    """A callback with hooks, as far as the dispatcher is concerned."""

    comes_last: bool
    history: int
    timesteps_per_iteration: int
    iteration: int
    iteration_began: int
    was_loaded: bool

    def functions(self, hook: str) -> list[Hook]:
        """The functions to call for a hook, in order."""

    def is_new_algorithm(self, algorithm: BaseAlgorithm) -> bool:
        """Whether it sees an algorithm for the first time."""

    def is_new_env(self, env: VecEnv) -> bool:
        """Whether it sees environments for the first time."""


class HookDispatcher:
    """Calls the hooks of all callbacks in turn during one ``learn()``.

    Args:
        model: The model.
        counter: The counter of its episodes.
        callbacks: The callbacks with hooks, in the order of the list.
        siblings: All callbacks of this ``learn()``.

    Attributes:
        metrics: The logger for hooks of training.
        episodes: The running episodes of training; None if no hook uses them.
        counts_episodes: Whether a hook needs returns or steps.
        watches_steps: Whether a hook needs to be called between two rollouts.
    """

    def __init__(
        self,
        model: BaseAlgorithm,
        counter: EpisodeCounter,
        callbacks: Sequence[HookCallback],
        siblings: Sequence[sb3.BaseCallback],
    ) -> None:
        assert model.env is not None
        self.model, self._counter, self._env = model, counter, model.env
        self._callbacks = sorted(callbacks, key=lambda one: one.comes_last)  # stable otherwise
        self._resumed = any(isinstance(one, RestoreRandomness) for one in siblings)
        self.metrics, self.evaluation_metrics = MetricsLogger(), MetricsLogger("eval/")
        self._functions = {name: [call for one in self._callbacks for call in one.functions(name)] for name in HOOKS}
        self._history = max(one.history for one in callbacks)
        follows = any(self._functions[name] for name in (*EPISODE_HOOKS, "on_sample_end"))
        self.episodes = self._tracker(self._env, self.metrics, False) if follows else None
        self.counts_episodes = follows or bool(self._functions["on_train_result"])
        self._latest: deque[tuple[float, int]] = deque(maxlen=LATEST_EPISODES)
        evaluations: dict[int, sb3.EvalCallback] = {}
        if follows or any(self._functions[name] for name in EVALUATION_HOOKS):
            evaluations = {id(one): one for one in siblings if isinstance(one, sb3.EvalCallback)}
        self._announcing = [one for one in evaluations.values() if isinstance(one, EvalCallback)]
        self._silent = [one for one in evaluations.values() if not isinstance(one, EvalCallback)]
        self._trackers = [self._eval_tracker(one) for one in self._announcing]
        self._rows = EvaluationRows(self._silent, self._trackers)
        self.watches_steps = follows or bool(self._silent and self._functions["on_evaluate_end"])
        self._log = model.logger
        self._writer = MetricsWriter([self.metrics, self.evaluation_metrics])
        self._begun = self._trained = False  # whether there was a rollout; and one that is not reported yet
        self._collecting, self._stepped = False, -1  # a callback in two places of the list is called twice
        self._start = self._reported = time.monotonic()
        self._reports = {id(one): one.functions("on_train_result") for one in callbacks}
        self._added: set[str] = set()  # what hooks have put into results

    def resume(self, before: HookDispatcher | None, saved: dict[str, Any] | None) -> None:
        """Continue where an earlier ``learn()``, or a checkpoint, stopped."""
        if saved is not None:
            self.metrics.load_state_dict(saved["metrics"])
            self.evaluation_metrics.load_state_dict(saved["evaluation_metrics"])
            self._latest.extend((float(total), int(length)) for total, length in saved["latest"])
            self._start -= float(saved["seconds"])
            self._trained = bool(saved["trained"])
            if self.episodes is not None and saved["episodes"] is not None:
                self.episodes.load_state_dict(saved["episodes"])
        elif before is not None and before.model is self.model:
            self.metrics.take_over(before.metrics)
            self.evaluation_metrics.take_over(before.evaluation_metrics)
            self._latest.extend(before._latest)
            self._start = before._start
            if self.episodes is not None and before.episodes is not None:
                self.episodes.running, self.episodes.begun = before.episodes.running, before.episodes.begun

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs, as plain data."""
        return {
            "metrics": self.metrics.state_dict(),
            "evaluation_metrics": self.evaluation_metrics.state_dict(),
            "latest": [list(one) for one in self._latest],
            "seconds": time.monotonic() - self._start,
            "trained": self._trained,
            "episodes": None if self.episodes is None else self.episodes.state_dict(),
        }

    def fire(self, hook: str, **arguments: Any) -> None:
        """Call a hook of every callback that has it."""
        for function in self._functions[hook]:
            function(algorithm=self.model, rl_module=self.model.policy, **arguments)

    def rollout_start(self) -> None:
        """A rollout starts; the one before has been trained on."""
        if not self._begun:
            self._begun = True
            self._begin()
        self._report()
        self._collecting = True

    def step(self, rollout: dict[str, Any]) -> None:
        """The environments of training took a step, which the counter has counted."""
        self._report_evaluations()
        tracker, counter = self.episodes, self._counter
        if tracker is None or "new_obs" not in rollout or self._stepped == self.model.num_timesteps:  # ARS exposes none
            return
        self._stepped = self.model.num_timesteps
        observations = raw_observations(tracker.env, rollout["new_obs"])
        latest = {one.env_index: (one.length, one.episode_return) for one in counter.latest}
        for index in range(tracker.env.num_envs):
            ended = index in counter.ended
            state = latest.get(index) if ended else counter.running(index)
            if state is None:  # its first steps were not counted
                tracker.running.pop(index, None)
            else:
                length, total = state
                tracker.step(index, rollout, observations, float(counter.rewards[index]), total, length, ended)
            if ended:
                tracker.begin(index, observations)

    def finished(self, episode: Episode, shown: bool) -> None:
        """An episode of training has ended."""
        self._latest.append((episode.episode_return, episode.length))
        if self.episodes is not None and not shown:  # ARS
            self.episodes.finished(episode.number, episode.episode_return, episode.length)

    def rollout_end(self) -> None:
        """A rollout has ended and will be trained on."""
        if not self._collecting:
            return
        self._collecting, self._trained = False, True
        if self.episodes is not None:
            self._sampled(self.episodes)

    def end(self, interrupted: bool) -> None:
        """Training has ended."""
        try:
            if not interrupted:
                self._report_evaluations()
                self._report()
                left = self._added & set(self._log.name_to_value)
                if left or self.metrics.is_fresh or self.evaluation_metrics.is_fresh:
                    self._log.dump(self.model.num_timesteps)
        finally:
            for evaluation in self._announcing:
                evaluation.listener = None
            for writer in (self._writer, self._rows):
                if writer in self._log.output_formats:
                    self._log.output_formats.remove(writer)

    def _begin(self) -> None:
        self._log.output_formats.insert(0, self._writer)  # before the others, which write what it adds to a row
        for evaluation, tracker in zip(self._announcing, self._trackers, strict=True):
            evaluation.listener = tracker
        if self._silent and self._functions["on_evaluate_end"]:
            self._log.output_formats.append(self._rows)
        if self._silent and self._functions["on_evaluate_start"]:
            warnings.warn(
                f"on_evaluate_start is not called for SB3's own {type(self._silent[0]).__name__}, which does not "
                "announce its evaluations: use the one of velora_sb3.callbacks, with the same arguments",
                stacklevel=2,
            )
        for one in self._callbacks:
            if one.is_new_algorithm(self.model):
                self._call(one, "on_algorithm_init", metrics_logger=self.metrics)
        trackers = [self.episodes or self._tracker(self._env, self.metrics, False)]
        trackers += [tracker.episodes for tracker in self._trackers]
        trackers += [self._tracker(one.eval_env, self.evaluation_metrics, True) for one in self._silent]
        for each in trackers:
            where = {"env_runner": each.runner, "metrics_logger": each.runner.metrics, "env": each.env}
            for one in self._callbacks:
                if one.is_new_env(each.env):
                    self._call(one, "on_environment_created", env_context={}, **where)
        for one in self._callbacks:
            if self._resumed or one.was_loaded:
                one.was_loaded = False
                self._call(one, "on_checkpoint_loaded", metrics_logger=self.metrics)
        if self.episodes is not None and not isinstance(self.model, ARS):
            self._begin_episodes(self.episodes)

    def _begin_episodes(self, tracker: EpisodeTracker) -> None:
        observations = raw_observations(tracker.env, self.model._last_obs)
        for index in range(tracker.env.num_envs):
            known, counted = tracker.running.get(index), self._counter.running(index)
            if known is not None and counted is not None and known.is_at(*counted):
                if not known.get_observations() or not len(known):
                    tracker.resume(index, observations)
            elif counted is not None and counted[0] == 0:
                tracker.begin(index, observations)
            else:
                tracker.running.pop(index, None)  # its first steps were not seen

    def _report(self) -> None:
        """Report the iteration that has ended, if one has."""
        if not self._trained:
            return
        self._trained = False
        timesteps = self.model.num_timesteps
        due = [one for one in self._callbacks if timesteps - one.iteration_began >= one.timesteps_per_iteration]
        listening = any(self._reports[id(one)] for one in due)
        result = self._result() if listening else {}
        known = {*result, "training_iteration"}
        for one in due:
            one.iteration, one.iteration_began = one.iteration + 1, timesteps
            result["training_iteration"] = one.iteration
            for function in self._reports[id(one)]:
                function(algorithm=self.model, metrics_logger=self.metrics, result=result)
        for key, value in result.items():
            if key not in known and isinstance(value, Number):
                self._log.record(key, value, exclude=excluded(key))
                self._added.add(key)

    def _result(self) -> dict[str, Any]:
        now = time.monotonic()
        seconds, self._reported = now - self._reported, now
        losses = {
            name.removeprefix("train/"): value
            for name, value in self._log.name_to_value.items()
            if name.startswith("train/")
        }
        return {
            "training_iteration": 0,
            "num_env_steps_sampled_lifetime": self.model.num_timesteps,
            "num_episodes_lifetime": self._counter.finished,
            "time_this_iter_s": seconds,
            "time_total_s": now - self._start,
            "env_runners": {**summary(list(self._latest)), **self.metrics.peek()},
            "learners": {"default_policy": losses},
        }

    def _report_evaluations(self) -> None:
        """Report the evaluations of SB3's own callbacks since the last step."""
        while self._rows.results:
            evaluation, metrics = self._rows.results.popleft()
            self._evaluated(evaluation, metrics)

    def _sampled(self, tracker: EpisodeTracker) -> None:
        samples = tracker.take_samples()
        self.fire("on_sample_end", env_runner=tracker.runner, metrics_logger=tracker.runner.metrics, samples=samples)

    def _evaluated(self, evaluation: sb3.EvalCallback, metrics: dict[str, Any]) -> None:
        arguments = {"evaluation": evaluation, "evaluation_metrics": metrics}
        self.fire("on_evaluate_end", metrics_logger=self.evaluation_metrics, **arguments)

    def _evaluation_starts(self, tracker: EvalTracker) -> None:
        self.fire("on_evaluate_start", metrics_logger=self.evaluation_metrics, evaluation=tracker.evaluation)

    def _evaluation_ends(self, tracker: EvalTracker) -> None:
        metrics = tracker.metrics()
        self._sampled(tracker.episodes)
        self._evaluated(tracker.evaluation, metrics)

    def _tracker(self, env: VecEnv, metrics: MetricsLogger, in_evaluation: bool) -> EpisodeTracker:
        return EpisodeTracker(env, metrics, in_evaluation, self._history, self.fire)

    def _eval_tracker(self, evaluation: EvalCallback) -> EvalTracker:
        episodes = self._tracker(evaluation.eval_env, self.evaluation_metrics, True)
        return EvalTracker(evaluation, episodes, self._evaluation_starts, self._evaluation_ends)

    def _call(self, one: HookCallback, hook: str, **arguments: Any) -> None:
        for function in one.functions(hook):
            function(algorithm=self.model, **arguments)
