"""A replay buffer in a file of its own."""

from __future__ import annotations

import json
import os
from pathlib import Path

from safetensors import safe_open
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import ReplayBuffer

from velora_sb3.checkpoints.format.encoding import Decoder, Encoder
from velora_sb3.checkpoints.format.errors import CheckpointError, NotPlainError
from velora_sb3.checkpoints.format.tensor_file import write_tensors
from velora_sb3.checkpoints.state.replay_buffer import capture_buffer, restore_buffer

DESCRIPTION = "replay_buffer"  # also in front of the names of arrays that are not rows of the buffer


def save_replay_buffer(model: BaseAlgorithm, path: str | os.PathLike[str]) -> Path:
    """Write what a model's replay buffer holds into a safetensors file, which holds no pickle.

    Next observations that are the observations of the next row, nearly all, are not written twice. The file is written
    beside its place and renamed, so what stands there is whole.

    Args:
        model: The model.
        path: The file. It is replaced.

    Returns:
        The file.

    Raises:
        CheckpointError: If the model has no replay buffer, or its buffer holds what is not plain data.
        OSError: If the file cannot be written.
    """
    path, encoder = Path(path), Encoder()
    try:
        described, rows = capture_buffer(_buffer(model), encoder)
    except NotPlainError as error:
        raise CheckpointError(f"the replay buffer holds what is not plain data: {error}") from error
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write_tensors(beside, {**rows, **encoder.arrays}, {DESCRIPTION: json.dumps(described)})
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def load_replay_buffer(model: BaseAlgorithm, path: str | os.PathLike[str]) -> None:
    """Fill a model's replay buffer from a file.

    Args:
        model: The model, made as the other was.
        path: What :func:`save_replay_buffer` wrote.

    Raises:
        CheckpointError: If it is no such file, or does not fit the model.
    """
    buffer = _buffer(model)
    try:
        with safe_open(path, framework="pt") as file:
            described = json.loads((file.metadata() or {})[DESCRIPTION])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
    except Exception as error:  # the library has an error of its own
        raise CheckpointError(f"{path} is no sound file of a replay buffer ({error}): use another one") from error
    rows = {name: array for name, array in arrays.items() if not name.startswith(f"{DESCRIPTION}.")}
    try:
        restore_buffer(buffer, described, rows, Decoder(arrays))
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except Exception as error:  # a description that makes no sense
        raise CheckpointError(f"{path} cannot be used here ({type(error).__name__}: {error})") from error


def _buffer(model: BaseAlgorithm) -> ReplayBuffer:
    buffer = getattr(model, "replay_buffer", None)
    if not isinstance(buffer, ReplayBuffer):
        raise CheckpointError(f"{type(model).__name__} has no replay buffer: use an off-policy algorithm, such as SAC")
    return buffer
