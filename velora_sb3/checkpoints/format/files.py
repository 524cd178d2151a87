"""The files of a checkpoint, and the manifest that lists them."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from velora_sb3.checkpoints.format.errors import CheckpointError
from velora_sb3.checkpoints.format.tensor_file import Arrays, write_tensors

POLICY, OPTIMIZERS, BUFFER = "policy.safetensors", "optimizers.safetensors", "replay_buffer.safetensors"
ARRAYS, STATE, MANIFEST = "state.safetensors", "state.json", "manifest.json"
NEEDED = frozenset({POLICY, OPTIMIZERS, ARRAYS, STATE})
KNOWN = NEEDED | {BUFFER}

FORMAT, SCHEMA = "velora-sb3 checkpoint", 2  # 1 was written by velora-sb3 0.1.0
MOST_JSON = 64 * 2**20  # bytes
CHUNK = 2**20


@dataclass(frozen=True)
class Manifest:
    """The contents of ``manifest.json``.

    Attributes:
        path: Its directory.
        number: Counts the checkpoints of a run and of its directory; a newer one has a higher number.
        created: Time of writing, in nanoseconds since 1970.
        timesteps: ``num_timesteps`` of the model.
        metrics: Metrics at that time, by name.
        files: Size in bytes and SHA-256 of each file.
    """

    path: Path
    number: int
    created: int
    timesteps: int
    metrics: dict[str, float]
    files: dict[str, tuple[int, str]]


def write_files(directory: Path, tensors: Mapping[str, Arrays], state: dict[str, Any]) -> None:
    """Write all files but the manifest."""
    for name, arrays in tensors.items():
        write_tensors(directory / name, arrays)
    _write_json(directory / STATE, state)


def write_manifest(directory: Path, number: int, timesteps: int, metrics: Mapping[str, float]) -> None:
    """Write the manifest of the files that are there; it comes last."""
    files = {
        name: {"size": (directory / name).stat().st_size, "sha256": sha256(directory / name)}
        for name in sorted(KNOWN)
        if (directory / name).exists()
    }
    manifest = {"format": FORMAT, "schema": SCHEMA, "number": number, "created": time.time_ns()}
    counted = {"timesteps": timesteps, "metrics": dict(metrics), "files": files}
    _write_json(directory / MANIFEST, {**manifest, **counted})


def _write_json(path: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, allow_nan=False).encode()
    if len(text) > MOST_JSON:
        raise CheckpointError(f"{path.name} would have {len(text)} bytes, over {MOST_JSON}: store less in callbacks")
    path.write_bytes(text)


def sha256(path: Path) -> str:
    """The SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
