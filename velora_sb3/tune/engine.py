"""A sweep as Ray Tune runs it: scheduler, searcher, and a recorder of results."""

from __future__ import annotations

import logging
import math
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, PopulationBasedTraining, TrialScheduler
from ray.tune.search import BasicVariantGenerator, Searcher
from ray.tune.search.search_algorithm import SearchAlgorithm

from velora_sb3._signals import on_signals, raise_stopped
from velora_sb3.tune.learning import can_change
from velora_sb3.tune.results import FAILED, FINISHED, OUT_OF_TIME, RUNNING, STOPPED, Inheritance, Results
from velora_sb3.tune.space import Range

SCORE, PROGRESS = "score", "progress"
REDUCTION = 3  # ASHA promotes the best third at each rung
GENERATIONS = 5  # of population-based training
RETRIES = 10  # of a trial that loses its node
CHECKPOINTS_KEPT = 3  # the latest may be half written, and the population copies the one before
RAY = "ray"  # Ray's own directory, below that of the sweep


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes:
        space: Ranges of the settings.
        trials: Number of trials; with ``pbt`` the size of the population.
        steps: Timesteps of a trial.
        eval_freq: Timesteps between its evaluations.
        scheduler: ``none``, ``asha`` or ``pbt``.
        searcher: ``random`` or ``optuna``.
        seed: Seed of the searcher.
        resources: CPUs and GPUs of a trial.
        time_limit: Seconds for the whole sweep; None for no limit.
    """

    space: Mapping[str, Range]
    trials: int
    steps: int
    eval_freq: int
    scheduler: str
    searcher: str
    seed: int
    resources: Mapping[str, float]
    time_limit: float | None


def run_sweep(plan: Plan, trial: Callable[[dict[str, Any]], None], directory: Path, results: Results) -> int | None:
    """Run a sweep, or resume the one in a directory.

    A trial reports a metric ``score`` to maximize, ``progress`` in timesteps, ``returns`` by seed, ``final`` and, if it
    took the place of another trial, ``inherited``. It must report a checkpoint with each evaluation.

    Args:
        plan: What to run.
        trial: Trains with drawn values.
        directory: The directory of the sweep.
        results: Where to record.

    Returns:
        The signal that stopped it; None if it has ended.
    """
    trainable = tune.with_resources(trial, dict(plan.resources))
    state = str(directory / RAY)
    with interruptible() as received:
        if tune.Tuner.can_restore(state):
            tuner = tune.Tuner.restore(state, trainable, resume_unfinished=True)
        else:
            tuner = tune.Tuner(
                trainable,
                param_space={name: one.domain() for name, one in plan.space.items()},
                tune_config=tune.TuneConfig(
                    metric=SCORE,
                    mode="max",
                    num_samples=plan.trials,
                    scheduler=make_scheduler(plan),
                    search_alg=make_searcher(plan),
                    time_budget_s=plan.time_limit,
                    reuse_actors=True,
                    trial_dirname_creator=lambda one: one.trial_id,
                ),
                run_config=tune.RunConfig(
                    name=RAY,
                    storage_path=str(directory),
                    callbacks=[Recorder(results, plan.space)],
                    failure_config=tune.FailureConfig(max_failures=RETRIES),
                    checkpoint_config=tune.CheckpointConfig(num_to_keep=CHECKPOINTS_KEPT),
                    verbose=0,
                ),
            )
        tuner.fit()
    if received:
        return received[0]
    for one in results.trials():
        if one.status == RUNNING:  # at the time limit
            results.end(one.id, OUT_OF_TIME)
    return None


def make_scheduler(plan: Plan) -> TrialScheduler:
    """Ray's scheduler."""
    if plan.scheduler == "asha":
        grace = max(plan.eval_freq, math.ceil(plan.steps / REDUCTION**2))  # no rung just before the end
        return AsyncHyperBandScheduler(
            time_attr=PROGRESS, max_t=plan.steps, grace_period=grace, reduction_factor=REDUCTION
        )
    if plan.scheduler == "pbt":
        ranges = {name: one for name, one in plan.space.items() if can_change(name, *one.values)}

        def perturb(settings: dict[str, Any]) -> dict[str, Any]:
            near = {name: one.perturbed(settings[name]) for name, one in ranges.items() if one.kind != "choice"}
            return {**settings, **near}

        mutations = {
            name: one.domain().categories if one.kind == "choice" else one.domain() for name, one in ranges.items()
        }
        return PopulationBasedTraining(
            time_attr=PROGRESS,
            perturbation_interval=max(plan.steps // GENERATIONS, plan.eval_freq),
            hyperparam_mutations=mutations,
            perturbation_factors=(1.0, 1.0),  # factors alone would push gamma to the ends of its range
            custom_explore_fn=perturb,
        )
    return FIFOScheduler()


def make_searcher(plan: Plan) -> Searcher | SearchAlgorithm:
    """Ray's search algorithm."""
    if plan.searcher == "optuna":
        import optuna
        from optuna.samplers import TPESampler
        from ray.tune.search.optuna import OptunaSearch

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        return OptunaSearch(sampler=TPESampler(seed=plan.seed))
    return BasicVariantGenerator(random_state=plan.seed)


class Recorder(tune.Callback):  # type: ignore[misc]
    """Writes what trials report to the file of results.

    Args:
        results: The file.
        space: Ranges of the settings.
    """

    def __init__(self, results: Results, space: Mapping[str, Range]) -> None:
        self.results, self.space = results, space

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial starts, or starts again."""
        self.results.start(trial.trial_id, self._settings(trial.config), {one.trial_id for one in trials})

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """A trial has evaluated."""
        if result["failed"]:
            return
        returns = {int(seed): value for seed, value in result["returns"].items()}
        self.results.evaluate(trial.trial_id, result["timesteps"], returns, result["seconds"], result["final"])
        if result.get("inherited"):
            self.results.inherit(Inheritance(trial=trial.trial_id, **result["inherited"]))

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial has ended, or was stopped."""
        failed = trial.last_result.get("failed")
        self._end(trial, FAILED if failed else FINISHED if trial.last_result.get("final") else STOPPED, failed)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial has lost its node too often."""
        self._end(trial, FAILED, str(trial.get_error()))

    def _end(self, trial: Trial, status: str, error: str | None) -> None:
        number, score, timesteps = self.results.end(trial.trial_id, status, error)
        score = math.nan if score is None else score
        print(f"trial {number}: {status} after {timesteps:,} steps, score {score:,.1f}", flush=True)

    def _settings(self, config: Mapping[str, Any]) -> dict[str, Any]:
        return {name: one.value(config[name]) for name, one in self.space.items()}


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """Let Ctrl-C, SIGTERM and SIGHUP end a sweep in order: Ray saves its state. A second one raises at once."""
    received: list[int] = []
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # the table says which trials are unfinished

    def receive(number: int) -> None:
        if received:
            raise_stopped(number)
        received.append(number)
        signal.raise_signal(signal.SIGUSR1)  # which Ray catches for this purpose

    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        with on_signals(receive):
            yield received
    finally:
        signal.signal(signal.SIGUSR1, before)
