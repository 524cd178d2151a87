"""Atomic writes: after a crash of the program or the machine, a file or a directory is complete or absent."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a hidden path beside ``path`` to write to; the file takes its name at the end of the block.

    The file and its directory are flushed. If the block raises, the partial file is removed and ``path`` is untouched.
    """
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        yield partial
        replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def replace(source: Path, target: Path) -> None:
    """Flush a file or a directory, rename it, and flush the directory that it is in."""
    flush(source)
    source.replace(target)
    flush(target.parent)


def replace_directory(source: Path, target: Path, aside: Path) -> None:
    """Rename a directory whose contents are flushed; an old ``target`` moves to ``aside``, and back on failure."""
    if target.exists():
        target.rename(aside)
    try:
        source.rename(target)
    except OSError:
        if aside.exists():
            aside.rename(target)
        raise
    flush(target.parent)


def flush(path: Path) -> None:
    """Block until a file or a directory is on the disk."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file."""
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write a JSON file; raises ``ValueError`` for a number that is infinite or NaN, which JSON does not know."""
    write_text(path, json.dumps(values, indent=2, allow_nan=False, ensure_ascii=False) + "\n")
