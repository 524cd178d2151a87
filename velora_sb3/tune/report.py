"""Evaluations and checkpoints of a run for Ray Tune."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from velora_sb3._optional import require
from velora_sb3._validation import check_bool, check_integer
from velora_sb3.callbacks.base.callback import VeloraCallback
from velora_sb3.callbacks.base.logged_values import LoggedValues
from velora_sb3.checkpoints import save_checkpoint
from velora_sb3.checkpoints.moment import Moment

CHECKPOINT = "velora_sb3"  # below the directory of a checkpoint of Ray Tune
EVALUATED = "eval/mean_reward"


class TuneReport(VeloraCallback):
    """Reports every evaluation to Ray Tune, with a checkpoint of the whole run.

    ::

        def trial(config):
            model = PPO("LiquidPolicy", "CartPole-v1", learning_rate=config["learning_rate"])
            velora_sb3.tune.learn(model, 50_000, callback=[EvalCallback(eval_env), TuneReport()])

        tune.Tuner(trial, param_space={"learning_rate": tune.loguniform(1e-5, 1e-2)},
                   tune_config=tune.TuneConfig(metric="eval/mean_reward", mode="max", num_samples=16))

    Put it beside an ``EvalCallback``, SB3's or ours. An evaluation is reported when the next rollout starts, or when
    training ends: every step is stored and trained on by then, so the trial can be resumed to the last bit
    (:func:`learn` does that). Metrics are the latest numbers of SB3's logger under their own keys, such as
    ``eval/mean_reward`` and ``train/loss``, and ``timesteps``.

    Args:
        every: Evaluations between checkpoints. A trial that is paused or loses its node resumes from its latest one;
            population-based training needs 1.
        buffer: Whether checkpoints contain the replay buffer. Without it a resumed trial starts with an empty one.
        custom_objects: Names of constructor arguments that are not plain data; :func:`learn` takes them from its model.
        verbose: 0 for no output, 1 to print what it does.

    Raises:
        ImportError: If Ray is not installed.
        ValueError: If an argument is out of range; when training starts, if it does not run in a trial of Ray Tune.
    """

    _needs_every_step = True

    def __init__(
        self, *, every: int = 1, buffer: bool = True, custom_objects: Iterable[str] = (), verbose: int = 0
    ) -> None:
        super().__init__(verbose)
        require("ray", type(self).__name__, "ray")  # not the searcher
        self.every, self.buffer = check_integer("every", every), check_bool("buffer", buffer)
        self.custom_objects = [custom_objects] if isinstance(custom_objects, str) else list(custom_objects)
        self._logged = LoggedValues()
        self._seen = 0  # evaluations of this learn()
        self._reports = 0  # of the whole run
        self._unreported = False  # in a restored state

    def config(self) -> tuple[str, dict[str, Any]]:
        """Name and settings."""
        settings = {"every": self.every, "buffer": self.buffer, "custom_objects": self.custom_objects}
        return type(self).__name__, settings

    def state_dict(self) -> dict[str, Any]:
        """Adds the number of reports and the latest logged values."""
        own = {"reports": self._reports, "unreported": self._is_due(), "logged": self._logged.latest()}
        return {**super().state_dict(), **own}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state."""
        super().load_state_dict(state)
        self._reports, self._unreported = int(state["reports"]), bool(state["unreported"])
        self._logged.values = dict(state["logged"])

    def _on_start(self) -> None:
        self._check_trial()
        if self.is_new_run:
            self._reports, self._unreported, self._logged = 0, False, LoggedValues()
        self._logged.follow(self.logger)
        self._seen = self._logged.count(EVALUATED)

    def _on_rollout_start(self) -> None:
        if self._is_due():
            self._report("rollout start")

    def _on_end(self) -> None:
        if not self.interrupted and self._is_due():
            self._report("outside rollouts")
        self._logged.leave()

    def _is_due(self) -> bool:
        return self._unreported or self._logged.count(EVALUATED) > self._seen

    def _report(self, moment: Moment) -> None:
        self._seen, self._unreported = self._logged.count(EVALUATED), False
        self._reports += 1
        metrics = {**self._logged.latest(), "timesteps": self.num_timesteps}
        if self._reports % self.every:
            self._send(metrics, None)
            return
        with self._directory() as directory:
            path = Path(directory, self._name())
            objects = [name for name in self.custom_objects if name in vars(self.model)]
            callbacks = self.locals.get("callback")
            save_checkpoint(
                self.model, path, callbacks=callbacks, buffer=self.buffer, custom_objects=objects, moment=moment
            )
            self._send(metrics, directory)

    # Where a sweep differs, which trains several seeds in one trial.

    def _check_trial(self) -> None:
        from ray import tune

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Ray warns outside of trials
            trial = tune.get_context().get_trial_id()
        if trial is None:
            raise ValueError("TuneReport must run in a trial of Ray Tune: start training with tune.Tuner(...).fit()")

    def _directory(self) -> AbstractContextManager[str]:
        return tempfile.TemporaryDirectory()

    def _name(self) -> str:
        return CHECKPOINT

    def _send(self, metrics: dict[str, Any], directory: str | None) -> None:
        from ray import tune

        tune.report(metrics, checkpoint=None if directory is None else tune.Checkpoint.from_directory(directory))
