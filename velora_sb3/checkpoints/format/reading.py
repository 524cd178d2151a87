"""Reading a checkpoint: every file is checked against the manifest before its contents are used."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from velora_sb3._optional import versions
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
MOST_COUNT = 2**63

_highest = 0  # number of the checkpoints that this process has read or written
_counted: set[Path] = set()  # directories whose checkpoints it has read


@dataclass
class Checkpoint:
    """A checkpoint whose files match its manifest.

    Attributes:
        manifest: The manifest.
        state: The contents of ``state.json``.
    """

    manifest: Manifest
    state: dict[str, Any]

    def has(self, name: str) -> bool:
        """Whether the checkpoint has a file."""
        return name in self.manifest.files

    def tensors(self, name: str, copy: bool = True) -> dict[str, torch.Tensor]:
        """The tensors of a safetensors file."""
        path = self.manifest.path / name
        try:
            with safe_open(path, framework="pt") as file:
                found = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (no mapping)
                return {key: tensor.clone() for key, tensor in found.items()} if copy else found
        except Exception as error:  # safetensors raises its own kind
            raise CheckpointError(
                f"{path} is not a valid safetensors file ({error}): use another checkpoint"
            ) from error


def open_checkpoint(path: Path) -> Checkpoint:
    """Check a checkpoint's files, and read its state."""
    manifest = read_manifest(path)
    check_files(manifest)
    state = _read_json(path / STATE, MOST_JSON)
    if state.get("schema") != SCHEMA:
        raise CheckpointError(
            f"{path / STATE} has schema {state.get('schema')!r} instead of {SCHEMA}: use another checkpoint"
        )
    return Checkpoint(manifest, state)


def is_checkpoint(path: Path) -> bool:
    """Whether a directory is a checkpoint, of this version or another."""
    try:
        return _read_json(path / MANIFEST, MOST_MANIFEST).get("format") == FORMAT
    except CheckpointError:
        return False


def read_manifest(path: Path) -> Manifest:
    """Read and check a checkpoint's manifest."""
    file = path / MANIFEST
    if not path.is_dir():
        raise CheckpointError(f"{path} is not a directory: a checkpoint is the directory that holds {MANIFEST}")
    if not os.path.lexists(file):
        raise CheckpointError(f"{path} has no {MANIFEST}: it is not a checkpoint, or not a complete one")
    content = _read_json(file, MOST_MANIFEST)
    if content.get("format") != FORMAT:
        raise CheckpointError(f"{file} has format {content.get('format')!r} instead of {FORMAT!r}")
    if content.get("schema") != SCHEMA:
        raise CheckpointError(
            f"{path} was written by {_writer(path)} with schema {content.get('schema')!r}; this is velora-sb3 "
            f"{versions().get('velora-sb3', 'from its sources')}, which reads schema {SCHEMA}: resume the run with the "
            "version that wrote it, or start it again"
        )
    try:
        files = {name: (_count(entry["size"]), _digest(entry["sha256"])) for name, entry in content["files"].items()}
        metrics = {name: float(value) for name, value in content["metrics"].items()}
        number = _count(content.get("number", 0))  # which older checkpoints lack
        manifest = Manifest(path, number, _count(content["created"]), _count(content["timesteps"]), metrics, files)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise CheckpointError(f"{file} is damaged ({error!r}): use another checkpoint") from error
    if unknown := sorted(set(files) - KNOWN):
        raise CheckpointError(f"{file} lists {unknown[0]!r}, which does not belong to a checkpoint")
    if missing := sorted(NEEDED - set(files)):
        raise CheckpointError(f"{file} does not list {missing[0]}: use another checkpoint")
    _note(manifest.number)
    return manifest


def next_number(directory: Path) -> int:
    """A higher number than those of the checkpoints in a directory, and of all that this process read or wrote.

    It orders checkpoints where the clock cannot (it may be set back), nor the timesteps (a run may start again from
    an earlier checkpoint).
    """
    if (directory := directory.absolute()) not in _counted:
        _counted.add(directory)
        for file in directory.glob(f"*/{MANIFEST}"):
            with contextlib.suppress(CheckpointError):
                read_manifest(file.parent)
    _note(_highest + 1)
    return _highest


def _note(number: int) -> None:
    global _highest
    _highest = max(_highest, number)


def _writer(path: Path) -> str:
    """The version that wrote a checkpoint of another schema, if it is readable."""
    try:
        version = _read_json(path / STATE, MOST_JSON)["versions"]["velora-sb3"]
    except (CheckpointError, KeyError, TypeError):
        version = None
    known = isinstance(version, str) and re.fullmatch(r"[\w.+!-]{1,40}", version)
    return f"velora-sb3 {version}" if known else "another version of velora-sb3"


def check_sizes(manifest: Manifest) -> None:
    """Check the sizes of a checkpoint's files against its manifest."""
    for name, (size, _) in manifest.files.items():
        found = _size(manifest.path / name)
        if found != size:
            raise CheckpointError(f"{manifest.path / name} has {found} bytes instead of {size}: use another checkpoint")


def check_files(manifest: Manifest) -> None:
    """Check all sizes, then the SHA-256 of each file."""
    check_sizes(manifest)
    for name, (_, digest) in manifest.files.items():
        if sha256(manifest.path / name) != digest:
            raise CheckpointError(f"{manifest.path / name} does not match its SHA-256: use another checkpoint")


def _size(path: Path) -> int:
    try:
        found = path.lstat()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}): use another checkpoint") from error
    if not stat.S_ISREG(found.st_mode):
        raise CheckpointError(f"{path} is a link or a special file: a checkpoint holds regular files")
    return found.st_size


def _read_json(path: Path, most: int) -> dict[str, Any]:
    if (size := _size(path)) > most:
        raise CheckpointError(f"{path} has {size} bytes, more than the limit of {most}")
    try:
        content = json.loads(path.read_bytes(), parse_constant=_refuse, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError, OSError) as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}): use another checkpoint") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__} instead of an object: use another checkpoint")
    return content


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("an object has a duplicate name")
    return content


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < MOST_COUNT:
        raise ValueError(f"{value!r} is not a size or a count")
    return value


def _digest(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{64}", value):
        raise ValueError(f"{value!r} is not a SHA-256")
    return value
