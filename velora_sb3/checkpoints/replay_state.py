"""The filled part of a replay buffer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer

from velora_sb3.checkpoints.encoding import Decoder, Encoder
from velora_sb3.checkpoints.errors import CheckpointError
from velora_sb3.checkpoints.files import BUFFER

# HER's info dicts: no numbers, so they go into state.json where HER keeps them at all.
INFOS = "infos"


def capture_buffer(buffer: ReplayBuffer, encoder: Encoder) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What a replay buffer holds.

    Args:
        buffer: The buffer.
        encoder: Takes what is not an array with a row for each step.

    Returns:
        A description as JSON, and the filled rows of the arrays by name; they are not copied.
    """
    rows = _rows(buffer)
    arrays = {name: array[:rows] for name, array in _storage(buffer)}
    described: dict[str, Any] = {"class": type(buffer).__name__, "rows": rows, "pos": buffer.pos, "full": buffer.full}
    if isinstance(buffer, HerReplayBuffer):
        described["current_episode_start"] = encoder.encode(buffer._current_ep_start, "replay_buffer.current")
        if buffer.copy_info_dict:
            described[INFOS] = encoder.encode(buffer.infos[:rows].tolist(), "replay_buffer.infos")
    return described, arrays


def restore_buffer(
    buffer: ReplayBuffer, described: dict[str, Any], arrays: Mapping[str, torch.Tensor], decoder: Decoder
) -> None:
    """Fill a replay buffer with what another one held.

    Args:
        buffer: A new buffer, made as the other was.
        described: What :func:`capture_buffer` gave.
        arrays: The rows by name.
        decoder: Decodes the rest.

    Raises:
        CheckpointError: If it does not fit.
    """
    rows, storage = described["rows"], dict(_storage(buffer))
    if described["class"] != type(buffer).__name__ or set(storage) != set(arrays):
        raise CheckpointError(
            f"{BUFFER} is of a {described['class']} with {sorted(arrays)}, not of this model's buffer"
        )
    for name, array in storage.items():
        saved = arrays[name].numpy()
        if saved.shape != (rows, *array.shape[1:]) or saved.dtype != array.dtype:
            raise CheckpointError(
                f"{BUFFER} has {name} of shape {saved.shape} and type {saved.dtype}, this model's buffer keeps rows of "
                f"shape {array.shape[1:]} and type {array.dtype}"
            )
        array[:rows] = saved
    buffer.pos, buffer.full = int(described["pos"]), bool(described["full"])
    if not 0 <= buffer.pos < buffer.buffer_size or rows != _rows(buffer):
        raise CheckpointError(f"{BUFFER} has {rows} rows, and its position is {buffer.pos} of {buffer.buffer_size}")
    if isinstance(buffer, HerReplayBuffer):
        buffer._current_ep_start = decoder.decode(described["current_episode_start"])
        if INFOS in described:
            for row, infos in enumerate(decoder.decode(described[INFOS])):
                buffer.infos[row] = infos


def cut_episodes(buffer: ReplayBuffer) -> None:
    """Say that the episodes in flight do not go on: the environments will be reset without having ended.

    Args:
        buffer: The buffer.
    """
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
