"""The files of a checkpoint, and the manifest that describes them."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from velora_sb3.checkpoints.errors import CheckpointError

POLICY, OPTIMIZERS, BUFFER = "policy.safetensors", "optimizers.safetensors", "replay_buffer.safetensors"
ARRAYS, STATE, MANIFEST = "state.safetensors", "state.json", "manifest.json"
NEEDED = frozenset({POLICY, OPTIMIZERS, ARRAYS, STATE})
KNOWN = NEEDED | {BUFFER}

FORMAT, SCHEMA = "velora-sb3 checkpoint", 1
MOST_JSON = 64 * 2**20  # bytes
CHUNK = 2**20

Arrays = Mapping[str, np.ndarray | torch.Tensor]


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint says about itself.

    Attributes:
        path: Its directory.
        created: When it was written, in nanoseconds since 1970.
        timesteps: ``num_timesteps`` of the model.
        metrics: What was measured then, by name.
        files: Size in bytes and SHA-256 of each file.
    """

    path: Path
    created: int
    timesteps: int
    metrics: dict[str, float]
    files: dict[str, tuple[int, str]]


def write_files(
    directory: Path, tensors: Mapping[str, Arrays], state: dict[str, Any], timesteps: int, metrics: dict[str, float]
) -> None:
    """Write a checkpoint's files into a directory, the manifest last.

    Args:
        directory: Where to.
        tensors: Arrays and tensors for each safetensors file.
        state: What goes into ``state.json``.
        timesteps: ``num_timesteps`` of the model.
        metrics: What was measured.

    Raises:
        CheckpointError: If the state is too large for a JSON file.
        OSError: If the disk is full, or for another reason.
    """
    for name, arrays in tensors.items():
        save_tensors(directory / name, arrays)
    _write_json(directory / STATE, state)
    files = {}
    for name in [*tensors, STATE]:
        (directory / name).chmod((directory / STATE).stat().st_mode)  # safetensors lets nobody else read its files
        files[name] = {"size": (directory / name).stat().st_size, "sha256": sha256(directory / name)}
    manifest = {"format": FORMAT, "schema": SCHEMA, "created": time.time_ns(), "timesteps": timesteps}
    _write_json(directory / MANIFEST, {**manifest, "metrics": metrics, "files": files})


def save_tensors(path: Path, arrays: Arrays) -> None:
    """Write a safetensors file.

    Args:
        path: The file.
        arrays: Arrays and tensors by name.

    Raises:
        OSError: If it cannot be written.
    """
    tensors: dict[str, torch.Tensor] = {}
    stored: set[int] = set()
    for name, array in arrays.items():
        tensor = array.detach().cpu() if isinstance(array, torch.Tensor) else _from_numpy(array)
        storage = tensor.untyped_storage().data_ptr()
        # safetensors refuses tensors that share memory.
        tensors[name] = tensor.clone() if storage in stored else tensor.contiguous()
        stored.add(storage)
    try:
        save_file(tensors, path)
    except Exception as error:  # the library has an error of its own for a full disk
        raise OSError(f"{path} could not be written: {error}") from error


def _from_numpy(array: np.ndarray) -> torch.Tensor:
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    plain = np.require(native, requirements=["C", "W"]) if array.ndim else native.copy()
    return torch.from_numpy(plain)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, indent=1, allow_nan=False).encode()
    if len(text) > MOST_JSON:
        raise CheckpointError(f"{path.name} would be {len(text)} bytes, more than {MOST_JSON}: store less in callbacks")
    path.write_bytes(text)


def sha256(path: Path) -> str:
    """The SHA-256 of a file.

    Args:
        path: The file.

    Returns:
        It in hexadecimal digits.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
