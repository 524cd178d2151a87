"""A trial: the runs of ``velora-sb3 train`` for each seed, with one drawn set of hyperparameters."""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ray import tune
from stable_baselines3.common.callbacks import BaseCallback

from velora_sb3._statistics import interquartile_mean
from velora_sb3.checkpoints.format.reading import open_checkpoint
from velora_sb3.cli.algorithms import find_algorithm
from velora_sb3.cli.errors import reason
from velora_sb3.cli.experiment.config import RunConfig
from velora_sb3.cli.experiment.environments import import_packages, open_vec_env
from velora_sb3.cli.experiment.hyperparameters import constructor_arguments
from velora_sb3.cli.experiment.launch import start_learning
from velora_sb3.cli.experiment.run import Learn, Outcome, train_model
from velora_sb3.cli.sweep.sweep_file import Sweep
from velora_sb3.tune.engine import PROGRESS, SCORE
from velora_sb3.tune.learning import can_change, resume_changed
from velora_sb3.tune.report import EVALUATED, TuneReport
from velora_sb3.tune.seeds import train_seeds

ABOUT = "trial.json"  # beside the seeds' checkpoints
WORST = -1e30  # the score of a trial that failed


def run_trial(drawn: dict[str, Any], sweep: Sweep, directory: str, working_directory: str) -> None:
    """Train the seeds of a trial, within Ray Tune.

    Args:
        drawn: The drawn values.
        sweep: The sweep.
        directory: The directory of all trials.
        working_directory: Where the sweep was started; it may contain packages of environments.
    """
    if working_directory not in sys.path:
        sys.path.append(working_directory)
    import_packages(sweep.run.gym_packages)
    warnings.filterwarnings("ignore")  # the sweep file was checked; a thousand runs need not repeat them
    saved = tune.get_checkpoint()
    with nullcontext(None) if saved is None else saved.as_directory() as checkpoint:
        _Trial(drawn, sweep, Path(directory), None if checkpoint is None else Path(checkpoint)).run()


class _Trial:
    def __init__(self, drawn: dict[str, Any], sweep: Sweep, directory: Path, checkpoint: Path | None) -> None:
        self.id = str(tune.get_context().get_trial_id())
        self.sweep, self.checkpoint, self.directory = sweep, checkpoint, directory / self.id
        self.settings = sweep.settings(drawn)
        self.about: dict[str, Any] = {"trial": self.id, "settings": self.settings, "seconds": 0.0}
        self.inherited: dict[str, Any] | None = None
        self.began, self.timesteps = time.monotonic(), 0
        if checkpoint is not None:
            before = json.loads((checkpoint / ABOUT).read_text(encoding="utf-8"))
            self.about["seconds"], self.timesteps = before["seconds"], before["timesteps"]
            if before["trial"] != self.id:
                parent = {"parent": before["trial"], "before": before["settings"], "after": self.settings}
                self.inherited = {**parent, "timesteps": before["timesteps"]}

    def run(self) -> None:
        seeds = self.sweep.seeds
        names = [f"seed-{seed}" for seed in seeds]
        trains = [partial(self._train, seed) for seed in seeds]
        try:
            outcomes: list[Outcome] = train_seeds(trains, names, self._report)
        except Exception as error:  # a failure of training; retries would fail again
            self._send([], failed=f"{type(error).__name__}: {reason(error)}")
            return
        self._send([float(np.mean(outcome.returns)) for outcome in outcomes], final=True)

    def _train(self, seed: int, report: TuneReport) -> Outcome:
        torch.set_num_threads(self.sweep.run.threads)
        config = self.sweep.config(self.settings, seed)
        directory = self.directory / f"seed-{seed}"
        directory.mkdir(parents=True, exist_ok=True)
        config.save(directory)
        learn = (
            start_learning(config)
            if self.checkpoint is None
            else self._resume(config, self.checkpoint / directory.name)
        )
        return train_model(learn, config, directory, curves=False, video=False, recorders=[report])

    def _resume(self, config: RunConfig, checkpoint: Path) -> Learn:
        changed: dict[str, Any] = {}
        if self.inherited is not None:
            perturbed = {name: value for name, value in self.settings.items() if can_change(name, value)}
            changed = constructor_arguments(find_algorithm(config.algo)[1], perturbed, None)
        total = max(config.steps, open_checkpoint(checkpoint).manifest.timesteps)

        def learn(callback: BaseCallback) -> None:
            envs = open_vec_env(config.env, config.n_envs, config.seed)
            resume_changed(checkpoint, envs, callback, changed, total_timesteps=total, device=config.device)

        return learn

    def _report(self, metrics: list[dict[str, Any]], directory: Path) -> None:
        self.timesteps = max(int(one["timesteps"]) for one in metrics)
        about = {**self.about, "timesteps": self.timesteps, "seconds": self._seconds()}
        (directory / ABOUT).write_text(json.dumps(about), encoding="utf-8")
        self._send([float(one[EVALUATED]) for one in metrics], directory)

    def _send(
        self, returns: list[float], directory: Path | None = None, final: bool = False, failed: str | None = None
    ) -> None:
        metrics = {
            SCORE: interquartile_mean(returns) if returns else WORST,
            # Below the number of steps: no scheduler stops or perturbs a trial before its final evaluation.
            PROGRESS: min(self.timesteps, self.sweep.run.steps - 1),
            "timesteps": self.timesteps,
            "returns": dict(zip(map(str, self.sweep.seeds), returns, strict=False)),
            "seconds": self._seconds(),
            "final": final,
            "failed": failed,
            "inherited": self.inherited,
        }
        tune.report(metrics, checkpoint=None if directory is None else tune.Checkpoint.from_directory(directory))

    def _seconds(self) -> float:
        return float(self.about["seconds"]) + time.monotonic() - self.began


def trial_function(sweep: Sweep, directory: Path) -> Callable[[dict[str, Any]], None]:
    """The function of a trial for Ray Tune, which sends it to its workers."""
    where, working_directory = str(directory), str(Path.cwd())

    def trial(config: dict[str, Any]) -> None:
        run_trial(config, sweep, where, working_directory)

    return trial
