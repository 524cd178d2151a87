"""A replay buffer in its own file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from safetensors import safe_open
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import ReplayBuffer

from velora_sb3._atomic import atomic_write
from velora_sb3.checkpoints.format.encoding import Decoder, Encoder
from velora_sb3.checkpoints.format.errors import CheckpointError, NotPlainError
from velora_sb3.checkpoints.format.tensor_file import write_tensors
from velora_sb3.checkpoints.state.replay_buffer import capture_buffer, restore_buffer, truncate_episodes

ENVIRONMENTS = {"n_envs": "environments:", "observation_space": "observations in", "action_space": "actions in"}
DESCRIPTION = "replay_buffer"  # also the prefix of arrays that have no row for each step


def save_replay_buffer(model: BaseAlgorithm, path: str | os.PathLike[str]) -> Path:
    """Save a model's replay buffer to a safetensors file, without pickle.

    A next observation that equals the observation of the next row, as nearly all do, is stored once. The write is
    atomic: the file is complete or absent.

    Args:
        model: The model.
        path: The file. An existing one is replaced.

    Returns:
        The file.

    Raises:
        CheckpointError: If the model has no replay buffer, or the buffer holds values that are not plain data.
        OSError: If the file cannot be written.
    """
    path, encoder = Path(path), Encoder()
    try:
        buffer = _buffer(model)
        described, rows = capture_buffer(buffer, encoder)
        described["environments"] = {
            name: encoder.encode(getattr(buffer, name), f"{DESCRIPTION}.{name}") for name in ENVIRONMENTS
        }
    except NotPlainError as error:
        raise CheckpointError(f"the replay buffer cannot be stored: {error}") from error
    with atomic_write(path) as partial:
        write_tensors(partial, {**rows, **encoder.arrays}, {DESCRIPTION: json.dumps(described)})
    return path


def load_replay_buffer(model: BaseAlgorithm, path: str | os.PathLike[str], truncate_last_traj: bool = True) -> None:
    """Load a replay buffer that :func:`save_replay_buffer` saved into a model.

    Args:
        model: The model, with the spaces, the number of environments and the buffer settings of the saved one.
        path: The file.
        truncate_last_traj: Whether the running episodes end here, as in SB3: the next ``learn`` resets the
            environments.

    Raises:
        CheckpointError: If the file is not a saved replay buffer, or does not fit the model.
    """
    buffer = _buffer(model)
    try:
        with safe_open(path, framework="pt") as file:
            described = json.loads((file.metadata() or {})[DESCRIPTION])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
    except Exception as error:  # safetensors raises its own kind
        raise CheckpointError(f"{path} is not a saved replay buffer, or is damaged ({error})") from error
    rows = {name: array for name, array in arrays.items() if not name.startswith(f"{DESCRIPTION}.")}
    try:
        _check_environments(buffer, described, Decoder(arrays))
        restore_buffer(buffer, described, rows, Decoder(arrays))
        if truncate_last_traj:
            truncate_episodes(buffer)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except Exception as error:  # a malformed description
        raise CheckpointError(f"{path} cannot be loaded ({type(error).__name__}: {error})") from error


def _check_environments(buffer: ReplayBuffer, described: dict[str, Any], decoder: Decoder) -> None:
    """Raise if the saved buffer is of other environments; arrays of the same shapes may mean something else."""
    saved = decoder.decode(described.get("environments", {}))  # which older files lack
    for name, what in ENVIRONMENTS.items():
        own = getattr(buffer, name)
        if name in saved and saved[name] != own:
            raise CheckpointError(
                f"the replay buffer was saved with {what} {saved[name]}, but this model has {what} {own}: load it into "
                "a model with the same environments"
            )


def _buffer(model: BaseAlgorithm) -> ReplayBuffer:
    buffer = getattr(model, "replay_buffer", None)
    if not isinstance(buffer, ReplayBuffer):
        raise CheckpointError(f"{type(model).__name__} has no replay buffer: use an off-policy algorithm such as SAC")
    return buffer
