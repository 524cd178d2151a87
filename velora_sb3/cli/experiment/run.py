"""Train, save, then evaluate and record the model."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from sb3_contrib import ARS
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, CallbackList

from velora_sb3._signals import signal_of, unmasked_signals
from velora_sb3.callbacks import ProgressBar, SaveCheckpoints, VeloraCallback
from velora_sb3.cli.algorithms import find_algorithm
from velora_sb3.cli.errors import reason
from velora_sb3.cli.experiment.callbacks import make_early_stopping
from velora_sb3.cli.experiment.config import RunConfig
from velora_sb3.cli.experiment.directory import RESULT_FILE, write_result
from velora_sb3.cli.experiment.environments import open_env, open_vec_env
from velora_sb3.cli.experiment.episode_log import EpisodeLog
from velora_sb3.cli.experiment.evaluation import evaluate_model, evaluation_callback
from velora_sb3.cli.experiment.interrupt import StopOnInterrupt
from velora_sb3.cli.experiment.run_files import RemoveFiles, RunFile, TolerateLogErrors, WholeFile, as_zip
from velora_sb3.cli.saved_model import MODEL
from velora_sb3.plotting.figures import save_figure
from velora_sb3.plotting.learning_curve import learning_curve
from velora_sb3.video.record_episode import first_line, record_episode

Learn = Callable[[BaseCallback], object]

VIDEO_FILE = "video.mp4"
FINAL_EPISODES = 20
EVALUATION_SEED = 1_000  # added to the run's seed: evaluations use other episodes than training


@dataclass
class Outcome:
    """The result of a run.

    Attributes:
        steps: Timesteps of the run.
        first_step: Timestep at which it was resumed, or 0.
        seconds: Duration of training, with its evaluations.
        stopped_by: The signal that stopped it, or None.
        returns: Returns of the final evaluation; empty if it was skipped.
        lengths: Lengths of its episodes.
        files: Names of the files in the run directory.
        notes: What else to tell the user, such as why there is no video.
        failures: What could not be written, and why.
        best: Timesteps and mean return of the best evaluation, whose model is ``best_model.zip``; None without.
    """

    steps: int = 0
    first_step: int = 0
    seconds: float = 0.0
    stopped_by: int | None = None
    returns: list[float] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    best: tuple[int, float] | None = None

    @property
    def interrupted(self) -> bool:
        """Whether a signal stopped it."""
        return self.stopped_by is not None

    @property
    def exit_code(self) -> int:
        """The exit code of the command, as a shell counts: 128 and the number of the signal."""
        if self.stopped_by is not None:
            return 128 + self.stopped_by
        return 1 if self.failures else 0


def train_model(
    learn: Learn,
    config: RunConfig,
    directory: Path,
    curves: bool,
    video: bool,
    recorders: Sequence[VeloraCallback] = (),
) -> Outcome:
    """Train a model and fill its run directory."""
    outcome = Outcome()
    model, files = _learn(learn, config, directory, outcome, recorders)
    try:
        if curves:
            title = f"{config.algo}, {config.policy}, {config.env}, seed {config.seed}"
            _attempt(outcome, "learning_curve.png", lambda: draw_learning_curve(directory, title))
        if not outcome.interrupted:
            env = open_vec_env(config.env, 1, config.final_seed)
            outcome.returns, outcome.lengths = evaluate_model(model, env, FINAL_EPISODES)
            env.close()
        if video and not outcome.interrupted:
            _record(model, config, directory, outcome)
    except KeyboardInterrupt as error:  # the model is already on disk
        outcome.stopped_by = signal_of(error)
    for file in files:
        file.retry()  # there may be room by now
        if file.problem is not None:
            outcome.failures.append(f"{file.path.name} could not be written: {file.problem}")
    if not outcome.interrupted and not outcome.failures:
        result = {"returns": outcome.returns, "lengths": outcome.lengths, "seed": config.final_seed}
        about = {"steps": outcome.steps, "planned_steps": config.steps, **result, "notes": outcome.notes}
        _attempt(outcome, RESULT_FILE, lambda: write_result(directory, about))
    outcome.files = sorted(path.name for path in directory.iterdir() if not path.name.startswith("."))
    return outcome


def _learn(
    learn: Learn, config: RunConfig, directory: Path, outcome: Outcome, recorders: Sequence[VeloraCallback]
) -> tuple[BaseAlgorithm, list[RunFile]]:
    """Train, and save the model even after an error. Returns the files that may have to be written again."""
    algorithm = find_algorithm(config.algo)[1]
    start = time.perf_counter()
    checkpoints = next((one for one in recorders if isinstance(one, SaveCheckpoints)), None)
    model_file, log = WholeFile(directory / MODEL), EpisodeLog(directory / "episodes.csv")
    files: list[RunFile] = [model_file, log.file]

    def save(model: BaseAlgorithm) -> None:
        model_file.write(as_zip(model))

    # ARS has no point within learn() between two updates.
    with ProgressBar() as bar, StopOnInterrupt(None if algorithm is ARS else checkpoints, save) as stop:
        callbacks: list[BaseCallback] = [TolerateLogErrors(), bar, log]
        early_stopping, evaluations = make_early_stopping(config), None
        if config.eval_freq:
            env = algorithm._wrap_env(open_vec_env(config.env, 1, config.seed + EVALUATION_SEED), verbose=0)
            evaluations = evaluation_callback(algorithm, env, config.eval_freq, directory, after=early_stopping)
            evaluations.on_eval_step = stop.check
            files += evaluations.files
            callbacks.append(evaluations)
        elif early_stopping is not None:
            callbacks.append(early_stopping)
        callbacks += recorders
        try:
            with ExitStack() as ends:  # SB3 does not end callbacks when it is interrupted
                for callback in (log, *recorders):
                    ends.enter_context(callback)
                outdated = RemoveFiles([directory / RESULT_FILE, directory / VIDEO_FILE])  # of a run that is extended
                learn(CallbackList([*callbacks, outdated, stop]))
        except KeyboardInterrupt as error:
            if getattr(stop, "model", None) is None:
                raise
            outcome.stopped_by = signal_of(error)
        except Exception as error:
            if stop.signum is None:
                raise
            outcome.stopped_by = stop.signum  # Ctrl-C also reaches the worker processes of an environment
            outcome.notes.append(f"stopped within a rollout: {type(error).__name__}: {reason(error)}")
        finally:
            bar.close()
            if getattr(stop, "model", None) is not None:  # else training failed before it had a model
                save(stop.model)
                outcome.steps, outcome.first_step = stop.model.num_timesteps, stop.model._num_timesteps_at_start
            outcome.seconds = time.perf_counter() - start
            if early_stopping is not None and early_stopping.reason is not None:
                outcome.notes.append(f"stopped early: {early_stopping.reason}")
    if evaluations is not None:
        outcome.best = evaluations.best
    return stop.model, files


def _attempt(outcome: Outcome, name: str, write: Callable[[], object]) -> None:
    """Write a file at the end of a run; a full disk must not lose the rest."""
    try:
        write()
    except OSError as error:
        outcome.failures.append(f"{name} could not be written: {error.strerror or error}")


def draw_learning_curve(directory: Path, title: str) -> None:
    """Draw ``learning_curve.png`` from a run's CSV files."""
    evaluations = directory / "evaluations.csv"
    figure = learning_curve(
        pd.read_csv(directory / "episodes.csv"), pd.read_csv(evaluations) if evaluations.exists() else None, title
    )
    save_figure(figure, directory / "learning_curve.png")


def _record(model: BaseAlgorithm, config: RunConfig, directory: Path, outcome: Outcome) -> None:
    path = directory / VIDEO_FILE
    try:
        env = open_env(config.env, render_mode="rgb_array")
        try:
            with unmasked_signals():
                record_episode(model, env, path, seed=config.final_seed)
        finally:
            env.close()
    except BaseException as error:  # a renderer or an encoder may raise anything, and the run is already saved
        path.unlink(missing_ok=True)
        if not isinstance(error, Exception):
            raise
        outcome.notes.append(f"no video: {first_line(error)}")
