"""Files and directories that are there whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def whole_directory(path: Path) -> Iterator[Path]:
    """A directory that appears under its name once everything in it is written.

    It is written beside its place, as ``.name.partial``, and renamed at the end of the block. Another directory of that
    name is replaced. If the block raises, nothing changes.

    Args:
        path: The directory; its parent exists.

    Yields:
        Where to write.
    """
    partial, replaced = (path.with_name(f".{path.name}.{state}") for state in ("partial", "replaced"))
    _remove(partial)  # what a killed process left
    partial.mkdir()
    try:
        yield partial
        _remove(replaced)
        if path.exists():
            path.rename(replaced)
        try:
            partial.rename(path)
        except OSError:
            if replaced.exists():
                replaced.rename(path)
            raise
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(replaced, ignore_errors=True)


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write a JSON file.

    Args:
        path: The file.
        values: What JSON can hold.

    Raises:
        ValueError: If a number is infinite or not a number, which JSON does not know.
    """
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(values, indent=2, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)


def _remove(directory: Path) -> None:
    if directory.exists():
        shutil.rmtree(directory)
