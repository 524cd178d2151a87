"""The files of a checkpoint, and the manifest that describes them."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from velora_sb3.checkpoints.errors import CheckpointError
from velora_sb3.checkpoints.tensor_file import Arrays, write_tensors

POLICY, OPTIMIZERS, BUFFER = "policy.safetensors", "optimizers.safetensors", "replay_buffer.safetensors"
ARRAYS, STATE, MANIFEST = "state.safetensors", "state.json", "manifest.json"
NEEDED = frozenset({POLICY, OPTIMIZERS, ARRAYS, STATE})
KNOWN = NEEDED | {BUFFER}

FORMAT, SCHEMA = "velora-sb3 checkpoint", 1
MOST_JSON = 64 * 2**20  # bytes
CHUNK = 2**20


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
    files = {name: write_tensors(directory / name, arrays) for name, arrays in tensors.items()}
    files[STATE] = _write_json(directory / STATE, state)
    manifest = {"format": FORMAT, "schema": SCHEMA, "created": time.time_ns(), "timesteps": timesteps}
    described = {name: {"size": size, "sha256": digest} for name, (size, digest) in files.items()}
    _write_json(directory / MANIFEST, {**manifest, "metrics": metrics, "files": described})


def _write_json(path: Path, content: dict[str, Any]) -> tuple[int, str]:
    text = json.dumps(content, allow_nan=False).encode()
    if len(text) > MOST_JSON:
        raise CheckpointError(f"{path.name} would be {len(text)} bytes, more than {MOST_JSON}: store less in callbacks")
    path.write_bytes(text)
    return len(text), hashlib.sha256(text).hexdigest()


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
