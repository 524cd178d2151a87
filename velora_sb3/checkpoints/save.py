"""Saving a checkpoint."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import MaybeCallback

from velora_sb3._optional import versions
from velora_sb3.checkpoints.directories import atomic_directory, finish_saving
from velora_sb3.checkpoints.format.encoding import Encoder
from velora_sb3.checkpoints.format.errors import CheckpointError, NotPlainError
from velora_sb3.checkpoints.format.files import (
    ARRAYS,
    BUFFER,
    OPTIMIZERS,
    POLICY,
    SCHEMA,
    write_files,
    write_manifest,
)
from velora_sb3.checkpoints.format.reading import is_checkpoint, next_number
from velora_sb3.checkpoints.metrics import metrics_are_saved, new_metrics
from velora_sb3.checkpoints.moment import Moment, check_moment, unfinished_work
from velora_sb3.checkpoints.state.callbacks import as_callback, capture_callbacks, run_ids
from velora_sb3.checkpoints.state.logger import capture_logger
from velora_sb3.checkpoints.state.model import (
    capture_model,
    capture_parameters,
    check_custom_objects,
    exploration_matrices,
)
from velora_sb3.checkpoints.state.randomness import capture_randomness
from velora_sb3.checkpoints.state.replay_buffer import capture_buffer
from velora_sb3.checkpoints.state.vec_env import capture_statistics, capture_vec_env

# Arguments of learn() that decide what is logged, and where.
LEARN_ARGUMENTS = ("log_interval", "tb_log_name")


def save_checkpoint(
    model: BaseAlgorithm,
    path: str | Path,
    *,
    callbacks: MaybeCallback = None,
    buffer: bool = True,
    custom_objects: Iterable[str] = (),
    metrics: Mapping[str, float] | None = None,
    moment: Moment | None = None,
    on_error: Literal["raise", "warn"] = "raise",
    wait: bool = True,
) -> Path | None:
    """Save a run so that :func:`resume_training` continues it bit for bit.

    The directory is written atomically: it is complete or absent. It holds no pickle. Save when every step is stored
    and trained on: in a callback's ``_on_rollout_start``, or when ``learn`` has returned. A callback's ``_on_step`` is
    too early: SB3 has not stored the transition yet.

    Environments that do not answer, because they are closed or their worker processes have ended, are left out with a
    warning; the weights are saved all the same.

    Args:
        model: The model, with its environments.
        path: The checkpoint's directory. An existing checkpoint is replaced once the new one is complete.
        callbacks: The callbacks whose states are saved: the ones passed to ``learn``. Within a callback they are
            ``self.locals["callback"]``.
        buffer: Whether to save the replay buffer.
        custom_objects: Names of constructor arguments that are not plain data. They are left out, and passed again
            when the checkpoint is loaded.
        metrics: Metrics for :func:`keep_best` and :func:`best_checkpoints`. They are added to the logger's pending
            values, the mean return of recent episodes and the latest evaluation, which count for the first checkpoint
            after them in ``path``'s directory: later ones have other weights. NaN leaves a metric out.
        moment: Where in ``learn`` the call is made: ``"rollout start"`` in ``_on_rollout_start``, ``"rollout"`` in
            ``_on_step`` or ``_on_rollout_end``, ``"outside rollouts"`` otherwise. None detects it.
        on_error: ``"raise"``, or ``"warn"`` to continue training if the disk is full or cannot be written.
        wait: Whether to block until the checkpoint is on the disk. If False, a thread flushes it while training
            continues; the previous checkpoint remains the newest until then. The next save or :func:`finish_saving`
            reports an error of that thread.

    Returns:
        The directory, or None if it could not be written.

    Raises:
        CheckpointError: If a value is not plain data, with its name and the alternatives; or if the checkpoint cannot
            be written. An existing checkpoint is unchanged.
    """
    path, callback, moment = Path(path), as_callback(callbacks), check_moment(model, moment)

    def fail(what: str, error: Exception) -> None:
        if on_error == "raise":
            raise CheckpointError(
                f"{what}: free some space or choose another disk. The existing checkpoint is unchanged"
            ) from error
        warnings.warn(f"{what}; training continues, and the existing checkpoint is kept", RuntimeWarning, stacklevel=3)

    try:
        finish_saving()
    except CheckpointError as error:
        fail(f"an earlier checkpoint, {error}", error)
    measured = new_metrics(model, callback, metrics, path.parent)
    tensors, state = _capture(model, callback, buffer, set(custom_objects), moment)
    try:
        number, timesteps = next_number(path.parent), model.num_timesteps
        manifest = functools.partial(write_manifest, number=number, timesteps=timesteps, metrics=measured)
        with atomic_directory(path, _may_replace, wait, last=manifest) as directory:
            write_files(directory, tensors, state)
    except OSError as error:
        fail(f"the checkpoint {path} could not be written ({error})", error)
        return None
    metrics_are_saved(model, callback, path.parent)
    return path


def write_checkpoint(
    model: BaseAlgorithm,
    directory: Path,
    *,
    callbacks: MaybeCallback = None,
    buffer: bool = True,
    custom_objects: Iterable[str] = (),
    metrics: Mapping[str, float] | None = None,
    moment: Moment | None = None,
    quiet: bool = False,
    model_only: bool = False,
) -> None:
    """Write a checkpoint's files into an existing directory, beside other files: see :func:`save_checkpoint`.

    Args:
        model: The model.
        directory: The directory, such as one from :func:`atomic_directory`.
        callbacks: The callbacks whose states are saved.
        buffer: Whether to save the replay buffer.
        custom_objects: Names of arguments that will be passed again.
        metrics: Metrics, by name.
        moment: Where in ``learn`` the call is made.
        quiet: Whether to leave the warning that the running episode cannot be resumed to ``resume_training``.
        model_only: Whether to leave out what belongs to the run, for a checkpoint to give away: the environments with
            their running episodes, logged values and paths. The statistics of ``VecNormalize`` stay.

    Raises:
        CheckpointError: If a value is not plain data.
        OSError: If a file cannot be written.
    """
    callback = as_callback(callbacks)
    tensors, state = _capture(
        model, callback, buffer, set(custom_objects), check_moment(model, moment), quiet, model_only
    )
    write_files(directory, tensors, state)
    number = next_number(directory.parent)
    write_manifest(directory, number, model.num_timesteps, new_metrics(model, callback, metrics, directory.parent))
    metrics_are_saved(model, callback, directory.parent)


def _capture(
    model: BaseAlgorithm,
    callback: BaseCallback,
    buffer: bool,
    left_out: set[str],
    moment: Moment,
    quiet: bool = False,
    model_only: bool = False,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tensors of each file, and ``state.json``."""
    check_custom_objects(model, left_out)
    arrays, optimizer_arrays = Encoder(), Encoder()
    policy, optimizers, variables = capture_parameters(model, optimizer_arrays)
    state: dict[str, Any] = {
        "schema": SCHEMA,
        "versions": versions(),
        "model_only": model_only,
        **capture_model(model, arrays, left_out, model_only),
        "progress": _progress(model),
        "optimizers": optimizers,
        "variables": variables,
        "environments": None,
        "replay_buffer": None,
        "episodes_lost": None,
        "callbacks": capture_callbacks(callback, model.env, arrays),
        "trackers": run_ids(callback),
        "moment": moment,
        "learn": {name: callback.locals[name] for name in LEARN_ARGUMENTS if name in callback.locals},
        "random": arrays.encode(capture_randomness(model), "random"),
        "exploration_matrices": arrays.encode(exploration_matrices(model), "exploration_matrices"),
        "log": [] if model_only else _pending_log(model, arrays),
        "logger": None if model_only else capture_logger(model),
    }
    if model.env is not None and model_only:
        state["environments"] = capture_statistics(model.env, arrays, "environments")
    elif model.env is not None:
        state["environments"] = capture_vec_env(model.env, arrays, "environments")
        reasons = unfinished_work(model, moment), state["environments"]["lost"]
        state["episodes_lost"] = "; ".join(reason for reason in reasons if reason is not None) or None
    if state["episodes_lost"] is not None and model._last_obs is not None and not quiet:
        warnings.warn(f"the running episode cannot be resumed: {state['episodes_lost']}", stacklevel=3)
    tensors: dict[str, Any] = {}
    replay_buffer = getattr(model, "replay_buffer", None)
    if buffer and isinstance(replay_buffer, ReplayBuffer):
        try:
            state["replay_buffer"], tensors[BUFFER] = capture_buffer(replay_buffer, arrays)
        except NotPlainError as error:
            raise CheckpointError(f"{error}: leave out copy_info_dict, or save with buffer=False") from error
    tensors |= {POLICY: policy, OPTIMIZERS: optimizer_arrays.arrays, ARRAYS: arrays.arrays}
    return tensors, state


def _may_replace(path: Path) -> bool:
    return is_checkpoint(path) or not any(path.iterdir())


def _progress(model: BaseAlgorithm) -> dict[str, Any]:
    """How far the run is, for readers of the file; the model resumes from its attributes."""
    remaining = model._current_progress_remaining
    progress = {
        "num_timesteps": model.num_timesteps,
        "total_timesteps": int(model._total_timesteps),
        "episodes": model._episode_num,
        "progress_remaining": remaining,
        "learning_rate": float(model.lr_schedule(remaining)),
    }
    rate = getattr(model, "exploration_rate", None)
    return progress if rate is None else {**progress, "exploration_rate": float(rate)}


def _pending_log(model: BaseAlgorithm, encoder: Encoder) -> list[Any]:
    """Logged values that are not written yet, without figures and the like."""
    if getattr(model, "_logger", None) is None:
        return []
    log, pending = model.logger, []
    for name, value in log.name_to_value.items():
        try:
            encoded = encoder.encode(value, f"log {name}")
        except NotPlainError:
            continue
        excluded = log.name_to_excluded.get(name, ())
        pending.append([name, encoded, log.name_to_count[name], list(excluded or ())])
    return pending
