"""Calls the hooks of all ``EpisodeCallback`` of a training run."""

from __future__ import annotations

import time
from collections import deque
from numbers import Number
from typing import TYPE_CHECKING, Any

from sb3_contrib import ARS
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.vec_env import VecEnv

from velora_sb3.callbacks.base.episodes import Episode
from velora_sb3.callbacks.hooks.episode_tracker import EpisodeEvents, raw_observations, raw_rewards
from velora_sb3.callbacks.hooks.eval_tracker import EvaluationEvents, summary
from velora_sb3.callbacks.hooks.metrics_logger import MetricsLogger, MetricsWriter
from velora_sb3.callbacks.hooks.signatures import EPISODE_HOOKS, EVALUATION_HOOKS, HOOKS
from velora_sb3.checkpoints.resume import RestoreRandomness

if TYPE_CHECKING:
    from velora_sb3.callbacks.hooks.episode_callback import EpisodeCallback

LATEST_EPISODES = 100  # as many as SB3 averages over


class HookRounds:
    """What happens in one ``learn()``, told to all callbacks in turn.

    Attributes:
        metrics: The logger for hooks of training.
        episodes: The episodes of training, if a hook wants to know of them.
        counts_episodes: Whether anybody wants to know of returns or steps.
    """

    def __init__(self, lead: EpisodeCallback, everyone: list[EpisodeCallback]) -> None:
        self.lead, self.model = lead, lead.model
        self.everyone = sorted(everyone, key=lambda one: one.comes_last)  # stays in order otherwise
        self.metrics, self.evaluation_metrics = MetricsLogger(), MetricsLogger("eval/")
        self._functions = {name: [call for one in self.everyone for call in one.functions(name)] for name in HOOKS}
        follows = any(self._functions[name] for name in (*EPISODE_HOOKS, "on_sample_end"))
        self._history = max(one.history for one in everyone)
        self.episodes = self._events(lead.training_env, self.metrics, False) if follows else None
        self.counts_episodes = follows or bool(self._functions["on_train_result"])
        self._latest: deque[tuple[float, int]] = deque(maxlen=LATEST_EPISODES)
        self._evaluations: list[EvaluationEvents] = []
        self._log = lead.logger
        self._writer = MetricsWriter([self.metrics, self.evaluation_metrics])
        self._begun = self._trained = False  # whether there was a rollout; and one that is not reported yet
        self._collecting, self._stepped = False, -1  # a callback may stand in two places, and be told twice
        self._start = self._reported = time.monotonic()
        self._reports = {id(one): one.functions("on_train_result") for one in everyone}
        self._added: set[str] = set()  # what hooks have put into results

    def take_over(self, before: HookRounds | None, saved: dict[str, Any] | None) -> None:
        """Go on where an earlier ``learn()``, or a checkpoint, left off."""
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
        """What a later ``learn()`` must know, as plain data."""
        return {
            "metrics": self.metrics.state_dict(),
            "evaluation_metrics": self.evaluation_metrics.state_dict(),
            "latest": [list(one) for one in self._latest],
            "seconds": time.monotonic() - self._start,
            "trained": self._trained,
            "episodes": None if self.episodes is None else self.episodes.state_dict(),
        }

    def fire(self, hook: str, **arguments: Any) -> None:
        """Call a hook of everyone who has it."""
        for function in self._functions[hook]:
            function(algorithm=self.model, rl_module=self.model.policy, **arguments)

    def rollout_start(self) -> None:
        """A rollout is about to start, and the one before has been trained on."""
        if not self._begun:
            self._begun = True
            self._begin()
        self._report()
        self._collecting = True

    def step(self, rollout: dict[str, Any]) -> None:
        """The environments of training took a step."""
        events = self.episodes
        if events is None or "new_obs" not in rollout or self._stepped == self.model.num_timesteps:  # ARS shows none
            return
        self._stepped = self.model.num_timesteps
        observations, rewards = (
            raw_observations(events.env, rollout["new_obs"]),
            raw_rewards(events.env, rollout["rewards"]),
        )
        for index, done in enumerate(rollout["dones"]):
            events.step(index, rollout, observations, float(rewards[index]), bool(done))
            if done:
                events.begin(index, observations)

    def finished(self, episode: Episode, shown: bool) -> None:
        """An episode of training has ended."""
        self._latest.append((episode.episode_return, episode.length))
        if self.episodes is not None and not shown:  # ARS
            self.episodes.finished(episode.number, episode.episode_return, episode.length)

    def rollout_end(self) -> None:
        """A rollout is over, and not trained on."""
        if not self._collecting:
            return
        self._collecting, self._trained = False, True
        if self.episodes is not None:
            self._sampled(self.episodes)

    def end(self, interrupted: bool) -> None:
        """Training is over."""
        try:
            if not interrupted:
                self._report()
                left = self._added & set(self._log.name_to_value)
                if left or self.metrics.is_fresh or self.evaluation_metrics.is_fresh:
                    self._log.dump(self.model.num_timesteps)
        finally:
            for evaluation in reversed(self._evaluations):
                evaluation.detach()
            self._evaluations.clear()
            if self._writer in self._log.output_formats:
                self._log.output_formats.remove(self._writer)

    def _begin(self) -> None:
        self._log.output_formats.insert(0, self._writer)  # what it adds to a row, those after it write
        callbacks = self.lead.siblings()
        wanted = any(self._functions[name] for name in (*EPISODE_HOOKS, *EVALUATION_HOOKS, "on_sample_end"))
        for callback in {id(one): one for one in callbacks if wanted and isinstance(one, EvalCallback)}.values():
            episodes = self._events(callback.eval_env, self.evaluation_metrics, True)
            evaluation = EvaluationEvents(callback, episodes, self._evaluation_starts, self._evaluation_ends)
            evaluation.attach()
            self._evaluations.append(evaluation)
        for one in self.everyone:
            if one.meets(self.model):
                self._tell(one, "on_algorithm_init", metrics_logger=self.metrics)
        training = self.episodes or self._events(self.lead.training_env, self.metrics, False)
        for events in (training, *(evaluation.episodes for evaluation in self._evaluations)):
            told = {"env_runner": events.runner, "metrics_logger": events.runner.metrics, "env": events.env}
            for one in self.everyone:
                if one.meets_environments(events.env):
                    self._tell(one, "on_environment_created", env_context={}, **told)
        resumed = any(isinstance(one, RestoreRandomness) for one in callbacks)
        for one in self.everyone:
            if resumed or one.was_loaded:
                one.was_loaded = False
                self._tell(one, "on_checkpoint_loaded", metrics_logger=self.metrics)
        if self.episodes is not None and not isinstance(self.model, ARS):
            self._begin_episodes(self.episodes)

    def _begin_episodes(self, events: EpisodeEvents) -> None:
        observations = raw_observations(events.env, self.model._last_obs)
        for index in range(events.env.num_envs):
            known, standing = events.running.get(index), self.lead.episodes.running(index)
            if known is not None and standing is not None and known.is_at(*standing):
                if not known.get_observations() or not len(known):
                    events.go_on(index, observations)
            elif standing is not None and standing[0] == 0:
                events.begin(index, observations)
            else:
                events.running.pop(index, None)  # its first steps were not seen

    def _report(self) -> None:
        """Tell of the iteration that is over, if there is one."""
        if not self._trained:
            return
        self._trained = False
        timesteps = self.model.num_timesteps
        due = [one for one in self.everyone if timesteps - one.iteration_began >= one.timesteps_per_iteration]
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
                self._log.record(key, value)
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
            "num_episodes_lifetime": self.lead.episodes.finished,
            "time_this_iter_s": seconds,
            "time_total_s": now - self._start,
            "env_runners": {**summary(list(self._latest)), **self.metrics.peek()},
            "learners": {"default_policy": losses},
        }

    def _sampled(self, events: EpisodeEvents) -> None:
        samples = events.take_samples()
        self.fire("on_sample_end", env_runner=events.runner, metrics_logger=events.runner.metrics, samples=samples)

    def _evaluation_starts(self, one: EvaluationEvents) -> None:
        self.fire("on_evaluate_start", metrics_logger=self.evaluation_metrics, evaluation=one.evaluation)

    def _evaluation_ends(self, one: EvaluationEvents) -> None:
        told = {"evaluation": one.evaluation, "evaluation_metrics": one.metrics()}
        self._sampled(one.episodes)
        self.fire("on_evaluate_end", metrics_logger=self.evaluation_metrics, **told)

    def _events(self, env: VecEnv, metrics: MetricsLogger, in_evaluation: bool) -> EpisodeEvents:
        return EpisodeEvents(env, metrics, in_evaluation, self._history, self.fire)

    def _tell(self, one: EpisodeCallback, hook: str, **arguments: Any) -> None:
        for function in one.functions(hook):
            function(algorithm=self.model, **arguments)
