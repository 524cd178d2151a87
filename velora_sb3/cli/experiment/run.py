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

from velora_sb3._atomic import atomic_write
from velora_sb3.callbacks import ProgressBar, SaveCheckpoints, VeloraCallback
from velora_sb3.cli.algorithms import find_algorithm
from velora_sb3.cli.experiment.callbacks import make_early_stopping
from velora_sb3.cli.experiment.config import RunConfig
from velora_sb3.cli.experiment.directory import write_result
from velora_sb3.cli.experiment.environments import open_env, open_vec_env
from velora_sb3.cli.experiment.episode_log import EpisodeLog
from velora_sb3.cli.experiment.evaluation import evaluate_model, evaluation_callback
from velora_sb3.cli.experiment.interrupt import StopOnInterrupt
from velora_sb3.plotting.learning_curve import learning_curve
from velora_sb3.video.record_episode import record_episode

FINAL_EPISODES = 20
# Added to the run's seed: evaluations and the video use other episodes than training.
EVALUATION_SEED = 1_000
FINAL_SEED = 2_000


@dataclass
class Outcome:
    """The result of a run.

    Attributes:
        steps: Timesteps of the run.
        first_step: Timestep at which it was resumed, or 0.
        seconds: Duration of training, with its evaluations.
        interrupted: Whether Ctrl-C stopped it.
        returns: Returns of the final evaluation; empty if it was skipped.
        lengths: Lengths of its episodes.
        files: Names of the files in the run directory.
        notes: What else to tell the user, such as why there is no video.
    """

    steps: int = 0
    first_step: int = 0
    seconds: float = 0.0
    interrupted: bool = False
    returns: list[float] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def train_model(
    learn: Callable[[BaseCallback], object],
    config: RunConfig,
    directory: Path,
    curves: bool,
    video: bool,
    recorders: Sequence[VeloraCallback] = (),
) -> Outcome:
    """Train a model and fill its run directory."""
    outcome = Outcome()
    model = _learn(learn, config, directory, outcome, recorders)
    try:
        if curves:
            draw_learning_curve(directory, f"{config.algo}, {config.policy}, {config.env}, seed {config.seed}")
        if not outcome.interrupted:
            env = open_vec_env(config.env, 1, config.seed + FINAL_SEED)
            outcome.returns, outcome.lengths = evaluate_model(model, env, FINAL_EPISODES)
            env.close()
        if video and not outcome.interrupted:
            _record(model, config, directory, outcome)
    except KeyboardInterrupt:  # the model is already on disk
        outcome.interrupted = True
    if not outcome.interrupted:
        result = {"returns": outcome.returns, "lengths": outcome.lengths, "notes": outcome.notes}
        write_result(directory, {"steps": outcome.steps, "planned_steps": config.steps, **result})
    outcome.files = sorted(path.name for path in directory.iterdir() if not path.name.startswith("."))
    return outcome


def _learn(
    learn: Callable[[BaseCallback], object],
    config: RunConfig,
    directory: Path,
    outcome: Outcome,
    recorders: Sequence[VeloraCallback],
) -> BaseAlgorithm:
    """Train, and save the model even after an error."""
    algorithm = find_algorithm(config.algo)[1]
    start = time.perf_counter()
    checkpoints = next((one for one in recorders if isinstance(one, SaveCheckpoints)), None)
    # ARS has no point within learn() between two updates.
    with ProgressBar() as bar, StopOnInterrupt(None if algorithm is ARS else checkpoints) as stop:
        callbacks: list[BaseCallback] = [bar, EpisodeLog(directory / "episodes.csv")]
        early_stopping = make_early_stopping(config)
        if config.eval_freq:
            env = algorithm._wrap_env(open_vec_env(config.env, 1, config.seed + EVALUATION_SEED), verbose=0)
            callbacks.append(evaluation_callback(algorithm, env, config.eval_freq, directory, after=early_stopping))
        elif early_stopping is not None:
            callbacks.append(early_stopping)
        callbacks += recorders
        try:
            with ExitStack() as ends:  # SB3 does not end callbacks when it is interrupted
                for callback in recorders:
                    ends.enter_context(callback)
                learn(CallbackList([*callbacks, stop]))
        except KeyboardInterrupt:
            if getattr(stop, "model", None) is None:
                raise
            outcome.interrupted = True
        finally:
            bar.close()
            if getattr(stop, "model", None) is not None:  # else training failed before it had a model
                save_model(stop.model, directory)
                outcome.steps, outcome.first_step = stop.model.num_timesteps, stop.model._num_timesteps_at_start
            outcome.seconds = time.perf_counter() - start
            if early_stopping is not None and early_stopping.reason is not None:
                outcome.notes.append(f"stopped early: {early_stopping.reason}")
    return stop.model


def save_model(model: BaseAlgorithm, directory: Path) -> None:
    """Write ``model.zip``."""
    with atomic_write(directory / "model.zip") as partial:
        model.save(partial)


def draw_learning_curve(directory: Path, title: str) -> None:
    """Draw ``learning_curve.png`` from a run's CSV files."""
    evaluations = directory / "evaluations.csv"
    figure = learning_curve(
        pd.read_csv(directory / "episodes.csv"), pd.read_csv(evaluations) if evaluations.exists() else None, title
    )
    with atomic_write(directory / "learning_curve.png") as partial:
        figure.savefig(partial)


def _record(model: BaseAlgorithm, config: RunConfig, directory: Path, outcome: Outcome) -> None:
    path = directory / "video.mp4"
    try:
        env = open_env(config.env, render_mode="rgb_array")
        try:
            record_episode(model, env, path, seed=config.seed + FINAL_SEED)
        finally:
            env.close()
    except BaseException as error:  # a renderer or an encoder may raise anything, and the run is already saved
        path.unlink(missing_ok=True)
        if not isinstance(error, Exception):
            raise
        outcome.notes.append(f"no video: {(str(error).splitlines() or [type(error).__name__])[0]}")
