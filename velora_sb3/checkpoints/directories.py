"""Directories that are there whole or not at all, whenever the program or the machine dies."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from velora_sb3.checkpoints.format.errors import CheckpointError

_HOST = socket.gethostname().replace(".", "_")
_in_use: set[str] = set()  # marks of this process


@contextmanager
def whole_directory(
    path: Path, may_replace: Callable[[Path], bool], wait: bool = True, last: Callable[[Path], None] | None = None
) -> Iterator[Path]:
    """A directory that appears under its name once everything in it is on the disk.

    It is written beside its place, flushed, and renamed at the end of the block. What had that name stands until then.
    If the block raises, nothing changes.

    Args:
        path: The directory. Parents are created.
        may_replace: Whether a directory that is there may give way.
        wait: Whether to wait for the disk at the end of the block. Otherwise another thread does, and
            :func:`finish_saving` tells whether it went well.
        last: What else is to be written when all else is, by the thread that waits for the disk.

    Yields:
        Where to write.

    Raises:
        CheckpointError: If there is something at the path that must stay, or nobody has asked yet what became of
            an earlier one and it failed.
        OSError: If the disk is full, or for another reason.
    """
    finish_saving()
    path = path.absolute()
    if path.is_symlink() or (path.exists() and not (path.is_dir() and may_replace(path))):
        raise CheckpointError(f"{path} exists and is no checkpoint: choose another path, or move it away")
    path.parent.mkdir(parents=True, exist_ok=True)
    clear_leftovers(path.parent)
    committing = _Committing(path, last)
    try:
        committing.partial.mkdir()
        yield committing.partial
    except BaseException:
        committing.undo()
        raise
    if wait:
        committing.commit_now()
    else:
        _pending.append(committing)
        committing.start()


def finish_saving() -> None:
    """Wait until everything that was saved is on the disk.

    Raises:
        CheckpointError: If something could not be written; what had its name stands.
    """
    wait_for_disk()
    if _failed:
        raise _failed.pop(0)


def wait_for_disk() -> None:
    """Wait, and leave it to :func:`finish_saving` to tell what went wrong."""
    while _pending:
        committing = _pending.pop(0)
        committing.join()
        if committing.error is not None:
            error = CheckpointError(f"{committing.path} could not be written ({committing.error})")
            error.__cause__ = committing.error
            _failed.append(error)


class _Committing(threading.Thread):
    """Brings a directory to the disk and under its name."""

    def __init__(self, path: Path, last: Callable[[Path], None] | None) -> None:
        super().__init__(name=f"saving {path.name}")
        self.path, self._last, self._mark = path, last, _new_mark()
        self.partial, self._replaced = (_hidden(path, state, self._mark) for state in ("partial", "replaced"))
        self.error: BaseException | None = None

    def run(self) -> None:
        """In a thread of its own, also while the program ends: no other threads can be started then."""
        try:
            self.commit(map)
        except BaseException as error:
            self.error = error

    def commit_now(self) -> None:
        """With as many threads as there are files: together they wait for the disk once."""
        self.commit(_in_threads)

    def commit(self, each: Callable[..., Iterable[None]]) -> None:
        """Flush everything, then rename."""
        try:
            if self._last is not None:
                self._last(self.partial)
            list(each(_flush, [self.partial, *self.partial.rglob("*")]))
            if self.path.exists():
                self.path.rename(self._replaced)
            try:
                self.partial.rename(self.path)
            except OSError:
                if self._replaced.exists():
                    self._replaced.rename(self.path)
                raise
        except BaseException:
            self.undo()
            raise
        _flush(self.path.parent)
        shutil.rmtree(self._replaced, ignore_errors=True)
        _in_use.discard(self._mark)

    def undo(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self.partial, ignore_errors=True)
        _in_use.discard(self._mark)


def _in_threads(function: Callable[[Path], None], paths: Iterable[Path]) -> list[None]:
    try:
        with ThreadPoolExecutor() as pool:
            return list(pool.map(function, paths))
    except RuntimeError:  # while the program ends no threads can be started
        return list(map(function, paths))


_pending: list[_Committing] = []
_failed: list[CheckpointError] = []


def remove_directory(path: Path) -> None:
    """Remove a checkpoint. If the program dies meanwhile, half of it is never taken for one."""
    mark = _new_mark()
    going = _hidden(path, "removed", mark)
    path.rename(going)
    shutil.rmtree(going, ignore_errors=True)
    _in_use.discard(mark)


def recover(directory: Path) -> None:
    """Give a directory its name back, if a process was killed between taking it away and giving it to the new one."""
    for left, name, state in _leftovers(directory):
        if state == "replaced" and not (directory / name).exists():
            left.rename(directory / name)


def clear_leftovers(directory: Path) -> None:
    """Remove what killed processes of this machine left unfinished."""
    recover(directory)
    for left, _, _ in _leftovers(directory):
        shutil.rmtree(left, ignore_errors=True)


def _hidden(path: Path, state: str, mark: str) -> Path:
    return path.with_name(f".{path.name}.{state}-{mark}")


def _new_mark() -> str:
    """Tells the directories of this process from what a killed one left."""
    mark = f"{_HOST}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    _in_use.add(mark)
    return mark


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
