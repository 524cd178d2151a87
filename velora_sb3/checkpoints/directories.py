"""Directories that are there whole or not at all, whenever the program or the machine dies."""

from __future__ import annotations

import os
import shutil
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from velora_sb3.checkpoints.errors import CheckpointError

_HOST = socket.gethostname().replace(".", "_")
_in_use: set[str] = set()  # marks of this process


@contextmanager
def whole_directory(path: Path, may_replace: Callable[[Path], bool]) -> Iterator[Path]:
    """A directory that appears under its name once everything in it is on the disk.

    It is written beside its place, flushed, and renamed at the end of the block. What had that name stands until then.
    If the block raises, nothing changes.

    Args:
        path: The directory. Parents are created.
        may_replace: Whether a directory that is there may give way.

    Yields:
        Where to write.

    Raises:
        CheckpointError: If there is something at the path that must stay.
    """
    path = path.absolute()
    if path.is_symlink() or (path.exists() and not (path.is_dir() and may_replace(path))):
        raise CheckpointError(f"{path} exists and is no checkpoint: choose another path, or move it away")
    path.parent.mkdir(parents=True, exist_ok=True)
    clear_leftovers(path.parent)
    with _mark() as mark:
        partial, replaced = (_hidden(path, state, mark) for state in ("partial", "replaced"))
        partial.mkdir()
        try:
            yield partial
            for file in [below for below in partial.rglob("*") if below.is_file()]:
                _flush(file)
            _flush(partial)
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
        _flush(path.parent)
        shutil.rmtree(replaced, ignore_errors=True)


def remove_directory(path: Path) -> None:
    """Remove a checkpoint. If the program dies meanwhile, half of it is never taken for one.

    Args:
        path: Its directory.
    """
    with _mark() as mark:
        going = _hidden(path, "removed", mark)
        path.rename(going)
        shutil.rmtree(going, ignore_errors=True)


def recover(directory: Path) -> None:
    """Give a directory its name back, if a process was killed between taking it away and giving it to the new one.

    Args:
        directory: Where checkpoints are.
    """
    for left, name, state in _leftovers(directory):
        if state == "replaced" and not (directory / name).exists():
            left.rename(directory / name)


def clear_leftovers(directory: Path) -> None:
    """Remove what killed processes of this machine left unfinished.

    Args:
        directory: Where checkpoints are.
    """
    recover(directory)
    for left, _, _ in _leftovers(directory):
        shutil.rmtree(left, ignore_errors=True)


def _hidden(path: Path, state: str, mark: str) -> Path:
    return path.with_name(f".{path.name}.{state}-{mark}")


@contextmanager
def _mark() -> Iterator[str]:
    """Tells the directories of this process from what a killed one left."""
    mark = f"{_HOST}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    _in_use.add(mark)
    try:
        yield mark
    finally:
        _in_use.discard(mark)


def _leftovers(directory: Path) -> list[tuple[Path, str, str]]:
    """Directories of processes that are no more, with the names and states of what they were to be."""
    found = []
    for left in directory.glob(f".*.*-{_HOST}-*-*"):
        name, _, rest = left.name.removeprefix(".").rpartition(".")
        state, _, mark = rest.partition("-")
        process = mark.removeprefix(f"{_HOST}-").partition("-")[0]
        known = state in ("partial", "replaced", "removed") and process.isdigit()
        if known and mark not in _in_use and not _is_alive(int(process)):
            found.append((left, name, state))
    return found


def _is_alive(process: int) -> bool:
    if process == os.getpid():
        return False  # an earlier one of that number: this one knows its own
    if os.name == "nt":
        return True  # a signal would end it
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _flush(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
