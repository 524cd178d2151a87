"""The filled part of a replay buffer."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer

from velora_sb3.checkpoints.format.encoding import Decoder, Encoder
from velora_sb3.checkpoints.format.errors import CheckpointError, NotPlainError
from velora_sb3.checkpoints.format.files import BUFFER

# HER's info dicts are not numbers, so they go into state.json.
INFOS = "infos"
NEXT = "next_observations"
PARTS = ("only", "rows")
# What SB3's buffers and ours keep beside arrays with a row for each step. A user's buffer may have more.
KNOWN = frozenset({
    "observations", "next_observations", "actions", "rewards", "dones", "timeouts", "states", "ep_start", "ep_length",
    "buffer_size", "observation_space", "action_space", "obs_shape", "action_dim", "pos", "full", "device", "n_envs",
    "optimize_memory_usage", "handle_timeout_termination", "sequence_length", "burn_in_length", "n_steps", "gamma",
    "env", "copy_info_dict", "goal_selection_strategy", "n_sampled_goal", "her_ratio", "infos", "_current_ep_start",
})  # fmt: skip
UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


def capture_buffer(buffer: ReplayBuffer, encoder: Encoder) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The filled part of a replay buffer: its description, and its arrays."""
    rows = _rows(buffer)
    arrays = without_duplicates({name: array[:rows] for name, array in _storage(buffer)})
    described: dict[str, Any] = {"class": type(buffer).__name__, "rows": rows, "pos": buffer.pos, "full": buffer.full}
    if isinstance(buffer, HerReplayBuffer):
        described["current_episode_start"] = encoder.encode(buffer._current_ep_start, "replay_buffer.current")
        if buffer.copy_info_dict:
            described[INFOS] = encoder.encode(buffer.infos[:rows].tolist(), "replay_buffer.infos")
    described["own"] = _capture_own(buffer, encoder)
    return described, arrays


def _capture_own(buffer: ReplayBuffer, encoder: Encoder) -> dict[str, Any]:
    """What a user's buffer keeps beside the steps, such as priorities."""
    own, stored = {}, {name for name, _ in _storage(buffer)}
    for name, value in vars(buffer).items():
        in_storage = name in stored or (isinstance(value, dict) and value and {f"{name}/{k}" for k in value} <= stored)
        if name in KNOWN or in_storage:
            continue
        try:
            own[name] = encoder.encode(value, f"replay_buffer.{name}")
        except NotPlainError as error:
            text = f"{type(buffer).__name__}.{name} is not in the checkpoint of the replay buffer: {error}"
            warnings.warn(f"{text}. Use numbers, strings, lists, dicts or arrays", stacklevel=5)
    return own


def _restore_own(buffer: ReplayBuffer, own: dict[str, Any], decoder: Decoder) -> None:
    for name, data in own.items():
        defined = inspect.getattr_static(type(buffer), name, None)
        if name in KNOWN or name.startswith("__") or callable(defined) or hasattr(defined, "__get__"):
            raise CheckpointError(f"it sets {name!r}, which is not part of the state of a {type(buffer).__name__}")
        value, present = decoder.decode(data), vars(buffer).get(name)
        arrays = isinstance(present, np.ndarray) and isinstance(value, np.ndarray)
        if arrays and (present.shape, present.dtype) == (value.shape, value.dtype):  # type: ignore[union-attr]
            present[...] = value  # type: ignore[index]  # in place: the buffer may hold views of it
        else:
            vars(buffer)[name] = value


def restore_buffer(
    buffer: ReplayBuffer, described: dict[str, Any], arrays: Mapping[str, torch.Tensor], decoder: Decoder
) -> None:
    """Restore the contents of a replay buffer."""
    rows, pos, full, size = described["rows"], int(described["pos"]), bool(described["full"]), buffer.buffer_size
    if not 0 <= pos < size or rows != (size if full else min(pos + 1, size)):
        raise CheckpointError(
            f"{BUFFER} has {rows} rows and position {pos}, which does not fit this model's buffer of {size} rows"
        )
    storage, saved = dict(_storage(buffer)), {name: array.numpy() for name, array in arrays.items()}
    shortened = {name for name in storage if f"{name} only" in saved}
    needed = {*(storage.keys() - shortened), *(f"{name} {part}" for name in shortened for part in PARTS)}
    if described["class"] != type(buffer).__name__ or needed != saved.keys():
        raise CheckpointError(
            f"{BUFFER} holds {sorted(saved)} of a {described['class']}, which do not fit this model's "
            f"{type(buffer).__name__}"
        )
    for name in sorted(storage, key=shortened.__contains__):
        if name in shortened:
            only, where = (saved[f"{name} {part}"] for part in PARTS)
            _check_rows(name, where, storage[name], (len(where),), np.dtype(np.int64))
            _check_rows(name, only, storage[name], (len(where), *storage[name].shape[1:]), storage[name].dtype)
            storage[name][: rows - 1] = storage[name.removeprefix("next_")][1:rows]
            storage[name][:rows][where] = only
        else:
            _check_rows(name, saved[name], storage[name], (rows, *storage[name].shape[1:]), storage[name].dtype)
            storage[name][:rows] = saved[name]
    buffer.pos, buffer.full = pos, full
    if isinstance(buffer, HerReplayBuffer):
        buffer._current_ep_start = decoder.decode(described["current_episode_start"])
        if INFOS in described:
            for row, infos in enumerate(decoder.decode(described[INFOS])):
                buffer.infos[row] = infos
    _restore_own(buffer, described.get("own", {}), decoder)


def without_duplicates(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Leave out next observations that equal the observation of the next row, as nearly all do."""
    shorter = dict(arrays)
    for name, values in arrays.items():
        if not name.startswith(NEXT) or values.dtype.itemsize not in UNSIGNED or len(values) < 2:
            continue
        bits = UNSIGNED[values.dtype.itemsize]  # compares the bits of zeros and NaNs too
        observations = arrays[name.removeprefix("next_")]
        differ = (values[:-1].view(bits) != observations[1:].view(bits)).reshape(len(values) - 1, -1).any(axis=1)
        rows = np.append(np.flatnonzero(differ), len(values) - 1)
        if len(rows) < len(values) / 2:
            del shorter[name]
            shorter |= dict(zip((f"{name} {part}" for part in PARTS), (values[rows], rows), strict=True))
    return shorter


def truncate_episodes(buffer: ReplayBuffer) -> None:
    """Mark the running episodes as truncated, because the environments will be reset."""
    looks_ahead = isinstance(buffer, HerReplayBuffer | NStepReplayBuffer) or buffer.optimize_memory_usage
    if buffer.size() == 0 or not looks_ahead:
        return
    last = (buffer.pos - 1) % buffer.buffer_size
    running = buffer.dones[last] == 0
    buffer.dones[last, running] = 1
    if buffer.handle_timeout_termination:  # bootstraps, as at a time limit
        buffer.timeouts[last, running] = 1
    if isinstance(buffer, HerReplayBuffer):
        for index in np.flatnonzero(buffer._current_ep_start != buffer.pos):
            buffer._compute_episode_length(int(index))


def _check_rows(name: str, saved: np.ndarray, array: np.ndarray, shape: tuple[int, ...], kind: np.dtype[Any]) -> None:
    if saved.shape != shape or saved.dtype != kind:
        raise CheckpointError(
            f"{BUFFER} has {name} of shape {saved.shape} and type {saved.dtype}, but this model's buffer has rows of "
            f"shape {array.shape[1:]} and type {array.dtype}"
        )


def _rows(buffer: ReplayBuffer) -> int:
    """Number of filled rows, plus the one that holds the last observation with ``optimize_memory_usage``."""
    return buffer.buffer_size if buffer.full else min(buffer.pos + 1, buffer.buffer_size)


def _storage(buffer: ReplayBuffer) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays with a row for each step; of a user's, those that also have a column for each environment."""
    for name, value in vars(buffer).items():
        entries = {f"{name}/{key}": entry for key, entry in value.items()} if isinstance(value, dict) else {name: value}
        for key, entry in entries.items():
            if not isinstance(entry, np.ndarray) or entry.dtype == object or entry.shape[:1] != (buffer.buffer_size,):
                continue
            if name in KNOWN or entry.shape[1:2] == (buffer.n_envs,):
                yield key, entry
