"""Reading a checkpoint: every file is checked against the manifest before anything in it is used."""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from velora_sb3.checkpoints.format.errors import CheckpointError
from velora_sb3.checkpoints.format.files import (
    FORMAT,
    KNOWN,
    MANIFEST,
    MOST_JSON,
    NEEDED,
    SCHEMA,
    STATE,
    Manifest,
    sha256,
)

MOST_MANIFEST = 2**20  # bytes


@dataclass
class Checkpoint:
    """A checkpoint whose files are what its manifest says.

    Attributes:
        manifest: The manifest.
        state: What ``state.json`` holds.
    """

    manifest: Manifest
    state: dict[str, Any] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """Whether it has a file."""
        return name in self.manifest.files

    def tensors(self, name: str, copy: bool = True) -> dict[str, torch.Tensor]:
        """The tensors of a safetensors file."""
        path = self.manifest.path / name
        try:
            with safe_open(path, framework="pt") as file:
                found = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (no mapping)
                return {key: tensor.clone() for key, tensor in found.items()} if copy else found
        except Exception as error:  # the library has an error of its own
            raise CheckpointError(f"{path} is no sound safetensors file ({error}): use another checkpoint") from error


def open_checkpoint(path: Path) -> Checkpoint:
    """Check a checkpoint, and read what is not large."""
    manifest = read_manifest(path)
    check_files(manifest)
    state = _read_json(path / STATE, MOST_JSON)
    if state.get("schema") != SCHEMA:
        raise CheckpointError(f"{path / STATE} has schema {state.get('schema')!r}, this version reads {SCHEMA}")
    return Checkpoint(manifest, state)


def read_manifest(path: Path) -> Manifest:
    """What a checkpoint says about itself."""
    file = path / MANIFEST
    if not path.is_dir():
        raise CheckpointError(f"{path} is no directory: a checkpoint is the directory that holds {MANIFEST}")
    if not os.path.lexists(file):
        raise CheckpointError(f"{path} has no {MANIFEST}: it is no checkpoint, or its writing was cut short")
    content = _read_json(file, MOST_MANIFEST)
    if content.get("format") != FORMAT or content.get("schema") != SCHEMA:
        raise CheckpointError(
            f"{file} says {content.get('format')!r} of schema {content.get('schema')!r}: this version reads "
            f"{FORMAT!r} of schema {SCHEMA}"
        )
    try:
        files = {name: (_whole(entry["size"]), _digest(entry["sha256"])) for name, entry in content["files"].items()}
        metrics = {name: float(value) for name, value in content["metrics"].items()}
        manifest = Manifest(path, _whole(content["created"]), _whole(content["timesteps"]), metrics, files)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise CheckpointError(f"{file} is damaged ({error!r}): use another checkpoint") from error
    if unknown := sorted(set(files) - KNOWN):
        raise CheckpointError(f"{file} lists {unknown[0]!r}, which is no file of a checkpoint")
    if missing := sorted(NEEDED - set(files)):
        raise CheckpointError(f"{file} does not list {missing[0]}: use another checkpoint")
    return manifest


def check_sizes(manifest: Manifest) -> None:
    """Hold the sizes of a checkpoint's files to its manifest."""
    for name, (size, _) in manifest.files.items():
        found = _size(manifest.path / name)
        if found != size:
            raise CheckpointError(f"{manifest.path / name} has {found} bytes instead of {size}: use another checkpoint")


def check_files(manifest: Manifest) -> None:
    """Hold a checkpoint's files to its manifest: all sizes first, then the SHA-256 of each."""
    check_sizes(manifest)
    for name, (_, digest) in manifest.files.items():
        if sha256(manifest.path / name) != digest:
            raise CheckpointError(f"{manifest.path / name} is not as it was written: use another checkpoint")


def _size(path: Path) -> int:
    try:
        found = path.lstat()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}): use another checkpoint") from error
    if not stat.S_ISREG(found.st_mode):
        raise CheckpointError(f"{path} is a link or no file at all: a checkpoint holds plain files")
    return found.st_size


def _read_json(path: Path, most: int) -> dict[str, Any]:
    if (size := _size(path)) > most:
        raise CheckpointError(f"{path} has {size} bytes, more than the {most} that are read")
    try:
        content = json.loads(path.read_bytes(), parse_constant=_refuse, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError, OSError) as error:
        raise CheckpointError(f"{path} is no sound JSON ({error}): use another checkpoint") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__} instead of an object: use another checkpoint")
    return content


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return content


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no whole number")
    return value


def _digest(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{64}", value):
        raise ValueError(f"{value!r} is no SHA-256")
    return value
