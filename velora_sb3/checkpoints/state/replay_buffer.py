"""The filled part of a replay buffer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer

from velora_sb3.checkpoints.format.encoding import Decoder, Encoder
from velora_sb3.checkpoints.format.errors import CheckpointError
from velora_sb3.checkpoints.format.files import BUFFER

# HER's info dicts: no numbers, so they go into state.json where HER keeps them at all.
INFOS = "infos"
NEXT = "next_observations"
PARTS = ("only", "rows")
UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


def capture_buffer(buffer: ReplayBuffer, encoder: Encoder) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What a replay buffer holds."""
    rows = _rows(buffer)
    arrays = without_repetitions({name: array[:rows] for name, array in _storage(buffer)})
    described: dict[str, Any] = {"class": type(buffer).__name__, "rows": rows, "pos": buffer.pos, "full": buffer.full}
    if isinstance(buffer, HerReplayBuffer):
        described["current_episode_start"] = encoder.encode(buffer._current_ep_start, "replay_buffer.current")
        if buffer.copy_info_dict:
            described[INFOS] = encoder.encode(buffer.infos[:rows].tolist(), "replay_buffer.infos")
    return described, arrays


def restore_buffer(
    buffer: ReplayBuffer, described: dict[str, Any], arrays: Mapping[str, torch.Tensor], decoder: Decoder
) -> None:
    """Fill a replay buffer with what another one held."""
    rows, pos, full, size = described["rows"], int(described["pos"]), bool(described["full"]), buffer.buffer_size
    if not 0 <= pos < size or rows != (size if full else min(pos + 1, size)):
        raise CheckpointError(
            f"{BUFFER} has {rows} rows and its position is {pos}, this model's buffer has {size} rows"
        )
    storage, saved = dict(_storage(buffer)), {name: array.numpy() for name, array in arrays.items()}
    shortened = {name for name in storage if f"{name} only" in saved}
    needed = {*(storage.keys() - shortened), *(f"{name} {part}" for name in shortened for part in PARTS)}
    if described["class"] != type(buffer).__name__ or needed != saved.keys():
        raise CheckpointError(f"{BUFFER} is of a {described['class']} of {sorted(saved)}, not of this model's kind")
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


def without_repetitions(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Leave out the next observations that are the observations of the next step: nearly all of them."""
    shorter = dict(arrays)
    for name, following in arrays.items():
        if not name.startswith(NEXT) or following.dtype.itemsize not in UNSIGNED or len(following) < 2:
            continue
        bits = UNSIGNED[following.dtype.itemsize]  # of zeros and NaNs too
        observations = arrays[name.removeprefix("next_")]
        differ = (following[:-1].view(bits) != observations[1:].view(bits)).reshape(len(following) - 1, -1).any(axis=1)
        rows = np.append(np.flatnonzero(differ), len(following) - 1)
        if len(rows) < len(following) / 2:
            del shorter[name]
            shorter |= dict(zip((f"{name} {part}" for part in PARTS), (following[rows], rows), strict=True))
    return shorter


def cut_episodes(buffer: ReplayBuffer) -> None:
    """Say that the episodes in flight do not go on: the environments will be reset without having ended."""
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
            f"{BUFFER} has {name} of shape {saved.shape} and type {saved.dtype}, this model's buffer keeps rows of "
            f"shape {array.shape[1:]} and type {array.dtype}"
        )


def _rows(buffer: ReplayBuffer) -> int:
    """Steps that are stored, and one more: with ``optimize_memory_usage`` it holds the last observation."""
    return buffer.buffer_size if buffer.full else min(buffer.pos + 1, buffer.buffer_size)


def _storage(buffer: ReplayBuffer) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays that have a row for each step."""
    for name, value in vars(buffer).items():
        entries = {f"{name}/{key}": entry for key, entry in value.items()} if isinstance(value, dict) else {name: value}
        for key, entry in entries.items():
            if isinstance(entry, np.ndarray) and entry.dtype != object and entry.shape[:1] == (buffer.buffer_size,):
                yield key, entry
