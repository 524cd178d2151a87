"""Atomic writes: after a crash of the program or the machine, a file or a directory is complete or absent."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Any

ABANDONED = 86_400.0  # seconds after which nobody writes to a partial file any more


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a hidden path beside ``path`` to write to; the file takes its name at the end of the block.

    The file and its directory are flushed. If the block raises, the partial file is removed and ``path`` is untouched.
    Several processes may write the same file: each has a partial file of its own, and the last one to end counts.
    """
    _remove_abandoned(path)
    partial = path.with_name(f".{path.stem}.partial-{secrets.token_hex(4)}{path.suffix}")
    try:
        yield partial
        replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _remove_abandoned(path: Path) -> None:
    """Remove what killed processes left behind."""
    for left in path.parent.glob(f".{escape(path.stem)}.partial*{escape(path.suffix)}"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > ABANDONED:
                left.unlink()


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
