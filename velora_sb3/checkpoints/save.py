"""Saving a checkpoint."""

from __future__ import annotations

import functools
import math
import sys
import warnings
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from sb3_contrib import ARS
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
from stable_baselines3.common.type_aliases import MaybeCallback

from velora_sb3.checkpoints.directories import atomic_directory, finish_saving
from velora_sb3.checkpoints.format.encoding import Encoder
from velora_sb3.checkpoints.format.errors import CheckpointError, NotPlainError
from velora_sb3.checkpoints.format.files import ARRAYS, BUFFER, OPTIMIZERS, POLICY, SCHEMA, write_files, write_manifest
from velora_sb3.checkpoints.format.reading import read_manifest
from velora_sb3.checkpoints.state.callbacks import as_callback, capture_callbacks, named_callbacks, run_ids
from velora_sb3.checkpoints.state.model import (
    capture_model,
    capture_parameters,
    check_left_out,
    exploration_matrices,
)
from velora_sb3.checkpoints.state.randomness import capture_randomness
from velora_sb3.checkpoints.state.replay_buffer import capture_buffer
from velora_sb3.checkpoints.state.vec_env import capture_vec_env

PACKAGES = ("velora-sb3", "stable-baselines3", "sb3-contrib", "torch", "gymnasium", "numpy")
# Arguments of learn() that decide what is logged, and where.
LEARN_ARGUMENTS = ("log_interval", "tb_log_name")
HOOKS = ("on_rollout_start", "on_step", "on_rollout_end")

IN_FLIGHT = (
    "the checkpoint was taken in the middle of a rollout, where SB3 has not stored the last step, or not learned from "
    "it. Save from _on_rollout_start, or when learn() has returned"
)
CANDIDATES = (
    "ARS tells callbacks of no moment between two updates, so it goes on with other candidates. Save when learn() has "
    "returned"
)


def save_checkpoint(
    model: BaseAlgorithm,
    path: str | Path,
    *,
    callbacks: MaybeCallback = None,
    buffer: bool = True,
    custom_objects: Iterable[str] = (),
    metrics: Mapping[str, float] | None = None,
    on_error: Literal["raise", "warn"] = "raise",
    wait: bool = True,
) -> Path | None:
    """Save everything that training needs to go on as if it had never stopped.

    The directory appears whole or not at all, and holds no pickle. Call it where all is stored and trained on: in a
    callback's ``_on_rollout_start``, or when ``learn`` has returned. A callback's ``_on_step`` comes too early: there
    SB3 has not stored the transition yet.

    Args:
        model: The model, with its environments.
        path: The checkpoint's directory. Another checkpoint there is replaced, once the new one stands.
        callbacks: The callbacks whose states are saved: what ``learn`` got, or in a callback ``locals["callback"]``.
        buffer: Whether the replay buffer is saved too.
        custom_objects: Names of arguments that are not plain data, and will be passed again when it is loaded.
        metrics: What was measured, for :func:`keep_best`. Added to the values that the logger has not written yet, the
            mean return of the latest episodes and the latest evaluation.
        on_error: ``"raise"``, or ``"warn"`` to go on training if the disk is full or cannot be written.
        wait: Whether to return when it is on the disk. Otherwise all is written and the disk does its work meanwhile:
            training waits for as short as it can. What goes wrong then is told by the next save, or by
            :func:`finish_saving`; until it stands, what was there stays the newest checkpoint.

    Returns:
        The directory, None if it could not be written.

    Raises:
        CheckpointError: If something is not plain data, with the argument's name and the alternative; or if it cannot
            be written. What was there stays as it was.
    """
    path = Path(path)

    def tell(what: str, error: Exception) -> None:
        if on_error == "raise":
            raise CheckpointError(
                f"{what}; free some space or choose another disk. What was there is as it was"
            ) from error
        warnings.warn(f"{what}; training goes on, and what was there stays", RuntimeWarning, stacklevel=3)

    try:
        finish_saving()
    except CheckpointError as error:
        tell(f"an earlier checkpoint, {error}", error)
    try:
        measured = _measured(model, as_callback(callbacks), metrics)
        last = functools.partial(write_manifest, timesteps=model.num_timesteps, metrics=measured)
        with atomic_directory(path, _is_checkpoint, wait, last) as directory:
            _write(model, directory, as_callback(callbacks), buffer, set(custom_objects))
    except OSError as error:
        tell(f"the checkpoint {path} could not be written ({error})", error)
        return None
    return path


def write_checkpoint(
    model: BaseAlgorithm,
    directory: Path,
    *,
    callbacks: MaybeCallback = None,
    buffer: bool = True,
    custom_objects: Iterable[str] = (),
    metrics: Mapping[str, float] | None = None,
    quiet: bool = False,
) -> None:
    """Write a checkpoint's files into a directory that is there, beside what is in it: see :func:`save_checkpoint`.

    Args:
        model: The model.
        directory: Where to.
        callbacks: The callbacks whose states are saved.
        buffer: Whether the replay buffer is saved too.
        custom_objects: Names of arguments that will be passed again.
        metrics: What was measured.
        quiet: Whether to leave it to whoever resumes to be told that the episode in flight does not go on.

    Raises:
        CheckpointError: If something is not plain data.
        OSError: If it cannot be written.
    """
    callback = as_callback(callbacks)
    _write(model, directory, callback, buffer, set(custom_objects), quiet)
    write_manifest(directory, model.num_timesteps, _measured(model, callback, metrics))


def _write(
    model: BaseAlgorithm,
    directory: Path,
    callback: BaseCallback,
    buffer: bool,
    left_out: set[str],
    quiet: bool = False,
) -> None:
    """Write everything but the manifest."""
    check_left_out(model, left_out)
    hook = _hook(model)
    arrays, optimizer_arrays = Encoder(), Encoder()
    policy, optimizers, variables = capture_parameters(model, optimizer_arrays)
    state: dict[str, Any] = {
        "schema": SCHEMA,
        "versions": versions(),
        **capture_model(model, arrays, left_out),
        "progress": _progress(model),
        "optimizers": optimizers,
        "variables": variables,
        "environments": None,
        "replay_buffer": None,
        "episodes_lost": None,
        "callbacks": capture_callbacks(callback, model.env, arrays),
        "trackers": run_ids(callback),
        # At a rollout's start SB3 has drawn what gSDE explores with.
        "moment": "rollout start" if hook == "on_rollout_start" else "outside rollouts",
        "learn": _learn_arguments(callback),
        "random": arrays.encode(capture_randomness(model), "random"),
        "exploration_matrices": arrays.encode(exploration_matrices(model), "exploration_matrices"),
        "log": _pending_log(model, arrays),
    }
    if model.env is not None:
        state["environments"] = capture_vec_env(model.env, arrays, "environments")
        state["episodes_lost"] = _in_flight(model, hook) or state["environments"]["lost"]
    if state["episodes_lost"] is not None and model._last_obs is not None and not quiet:
        warnings.warn(f"the episode in flight will not go on: {state['episodes_lost']}", stacklevel=4)
    tensors: dict[str, Any] = {}
    replay_buffer = getattr(model, "replay_buffer", None)
    if buffer and isinstance(replay_buffer, ReplayBuffer):
        try:
            state["replay_buffer"], tensors[BUFFER] = capture_buffer(replay_buffer, arrays)
        except NotPlainError as error:
            raise CheckpointError(f"{error}: leave out copy_info_dict, or save with buffer=False") from error
    tensors |= {POLICY: policy, OPTIMIZERS: optimizer_arrays.arrays, ARRAYS: arrays.arrays}
    write_files(directory, tensors, state)


@functools.cache
def versions() -> dict[str, str]:
    """The versions of Python and of the packages that a run depends on."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # used from its sources
            continue
    return found


def _is_checkpoint(path: Path) -> bool:
    """Whether a directory may give way to a checkpoint."""
    try:
        return not any(path.iterdir()) or bool(read_manifest(path))
    except CheckpointError:
        return False


def _progress(model: BaseAlgorithm) -> dict[str, Any]:
    """Where the run stands, for people; the model goes on from its attributes."""
    remaining = model._current_progress_remaining
    progress = {
        "num_timesteps": model.num_timesteps,
        "total_timesteps": model._total_timesteps,
        "episodes": model._episode_num,
        "progress_remaining": remaining,
        "learning_rate": float(model.lr_schedule(remaining)),
    }
    rate = getattr(model, "exploration_rate", None)
    return progress if rate is None else {**progress, "exploration_rate": float(rate)}


def _hook(model: BaseAlgorithm) -> str | None:
    """The hook of the model's callbacks that is running."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        name = frame.f_code.co_name
        if name in HOOKS and getattr(frame.f_locals.get("self"), "model", None) is model:
            return name
    return None


def _in_flight(model: BaseAlgorithm, hook: str | None) -> str | None:
    """Why something is not stored or not trained on yet; None if all is."""
    if isinstance(model, ARS):
        return None if hook is None else CANDIDATES
    if hook in ("on_step", "on_rollout_end"):
        return IN_FLIGHT
    if model._total_timesteps == 0 or model.num_timesteps == model._num_timesteps_at_start:
        return None
    # Where training was stopped: SB3 updates its progress once a step, or a rollout, is stored.
    progress = 1.0 - float(model.num_timesteps) / float(model._total_timesteps)
    return None if model._current_progress_remaining == progress else IN_FLIGHT


def _learn_arguments(callback: BaseCallback) -> dict[str, Any]:
    return {name: callback.locals[name] for name in LEARN_ARGUMENTS if name in callback.locals}


def _pending_log(model: BaseAlgorithm, encoder: Encoder) -> list[Any]:
    """What was recorded and not written yet, without figures and the like."""
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


def _measured(model: BaseAlgorithm, callback: BaseCallback, metrics: Mapping[str, float] | None) -> dict[str, float]:
    log = model.logger.name_to_value if getattr(model, "_logger", None) is not None else {}
    found = {name: value for name, value in log.items() if isinstance(value, int | float | np.number)}
    if model.ep_info_buffer and "r" in model.ep_info_buffer[0]:
        found["rollout/ep_rew_mean"] = np.mean([info["r"] for info in model.ep_info_buffer])
    for _, one in named_callbacks(callback):
        if isinstance(one, EvalCallback):
            found["eval/mean_reward"] = one.last_mean_reward
    return {name: float(value) for name, value in {**found, **(metrics or {})}.items() if math.isfinite(value)}
