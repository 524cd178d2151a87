"""What happens in an evaluation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import EvalCallback

from velora_sb3.callbacks.hooks.episode_tracker import EpisodeEvents, raw_observations, raw_rewards

WATCHED = ("_on_step", "_log_success_callback")


class EvaluationEvents:
    """Listens to an ``EvalCallback`` and says what happens to the episodes of its evaluations.

    SB3's evaluation shows each of its steps to ``_log_success_callback`` of the ``EvalCallback``: that is where they
    are heard. That object has two attributes more while it is listened to; its environments have one during an
    evaluation.
    """

    def __init__(
        self,
        evaluation: EvalCallback,
        episodes: EpisodeEvents,
        on_start: Callable[[EvaluationEvents], None],
        on_end: Callable[[EvaluationEvents], None],
    ) -> None:
        self.evaluation, self.episodes = evaluation, episodes
        self._on_start, self._on_end = on_start, on_end
        self._before: dict[str, Any] = {}

    def attach(self) -> None:
        """Listen."""
        self._before = {name: vars(self.evaluation)[name] for name in WATCHED if name in vars(self.evaluation)}
        self._step_of_training = self.evaluation._on_step
        self._log_success = self.evaluation._log_success_callback
        vars(self.evaluation).update(_on_step=self._step, _log_success_callback=self._listen)

    def detach(self) -> None:
        """Leave the callback as it was."""
        for name in WATCHED:
            vars(self.evaluation).pop(name, None)
        vars(self.evaluation).update(self._before)

    def metrics(self) -> dict[str, Any]:
        """How the evaluation went."""
        return {"env_runners": {**summary([(one.get_return(), len(one)) for one in self.episodes.ended])}}

    def _step(self) -> bool:
        if self.evaluation.eval_freq <= 0 or self.evaluation.n_calls % self.evaluation.eval_freq != 0:
            return self._step_of_training()
        env = self.evaluation.eval_env
        original = env.reset
        before = {name: value for name, value in vars(env).items() if name == "reset"}

        def reset() -> Any:
            observations = original()
            raw = raw_observations(env, observations)
            for index in range(env.num_envs):
                if self.evaluation.n_eval_episodes + index >= env.num_envs:  # SB3 wants no episode of the others
                    self.episodes.begin(index, raw)
            return observations

        self.episodes.running.clear()
        self.episodes.ended.clear()
        self._on_start(self)
        vars(env)["reset"] = reset
        try:
            going_on = self._step_of_training()
        finally:
            del vars(env)["reset"]
            vars(env).update(before)
        self._on_end(self)
        return going_on

    def _listen(self, locals_: dict[str, Any], globals_: dict[str, Any]) -> None:
        self._log_success(locals_, globals_)
        index, env = locals_["i"], self.evaluation.eval_env
        # A life that was lost may look like an end; SB3 counts an episode when Monitor says so.
        ended = bool(locals_["done"]) and (not locals_["is_monitor_wrapped"] or "episode" in locals_["info"])
        after = locals_.get("new_observations", locals_["observations"])  # those of sb3-contrib have another name
        observations = raw_observations(env, after)
        reward = float(raw_rewards(env, locals_["rewards"])[index])
        self.episodes.step(index, locals_, observations, reward, ended)
        if ended and locals_["episode_counts"][index] + 1 < locals_["episode_count_targets"][index]:
            self.episodes.begin(index, observations)


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
