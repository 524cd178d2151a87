"""Directories that are complete or absent, even if the program or the machine dies while they are written.

Each is written under a hidden name ``.<name>.<state>-<host>-<process>-<random>``, flushed, and renamed. The hidden name
tells what a killed process left behind, so the next one can restore or remove it.
"""

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

from velora_sb3._atomic import flush, replace, replace_directory
from velora_sb3.checkpoints.format.errors import CheckpointError

_HOST = socket.gethostname().replace(".", "_")
_in_use: set[str] = set()  # suffixes of this process's hidden names


@contextmanager
def atomic_directory(
    path: Path, may_replace: Callable[[Path], bool], wait: bool = True, last: Callable[[Path], None] | None = None
) -> Iterator[Path]:
    """A directory that takes its name once everything in it is on the disk.

    It is written under a hidden name, flushed, and renamed at the end of the block. A directory that already has the
    name stays until then. If the block raises, nothing changes.

    Args:
        path: The directory. Parents are created.
        may_replace: Whether an existing directory may be replaced.
        wait: Whether to block until the directory is on the disk. Otherwise a thread finishes the write, and
            :func:`finish_saving` raises if that failed.
        last: Writes the files that depend on all others, in that thread.

    Yields:
        The directory to write to.

    Raises:
        CheckpointError: If the path exists and may not be replaced, or an earlier background write failed and the
            failure has not been raised yet.
        OSError: If the directory cannot be written, for example because the disk is full.
    """
    finish_saving()
    path = path.absolute()
    if path.is_symlink() or (path.exists() and not (path.is_dir() and may_replace(path))):
        raise CheckpointError(f"{path} exists and is not a checkpoint: choose another path, or move it away")
    path.parent.mkdir(parents=True, exist_ok=True)
    clear_leftovers(path.parent)
    write = _Write(path, last)
    try:
        write.partial.mkdir()
        yield write.partial
    except BaseException:
        write.discard()
        raise
    if wait:
        write.commit(_map_in_threads)
    else:
        _pending.append(write)
        write.start()


def finish_saving() -> None:
    """Block until every background write is on the disk.

    Raises:
        CheckpointError: If one failed. The directory that it was to replace is unchanged.
    """
    wait_for_disk()
    if _failed:
        raise _failed.pop(0)


def wait_for_disk() -> None:
    """Block like :func:`finish_saving`, but leave raising errors to it."""
    while _pending:
        write = _pending.pop(0)
        write.join()
        if write.error is not None:
            error = CheckpointError(f"{write.path} could not be written ({write.error})")
            error.__cause__ = write.error
            _failed.append(error)


class _Write(threading.Thread):
    """One directory on its way to the disk; a thread only if nobody waits for it."""

    def __init__(self, path: Path, last: Callable[[Path], None] | None) -> None:
        super().__init__(name=f"saving {path.name}")
        self.path, self._last, self._suffix = path, last, _new_suffix()
        self.partial, self._replaced = (_hidden(path, state, self._suffix) for state in ("partial", "replaced"))
        self.error: BaseException | None = None

    def run(self) -> None:
        """Commit, in one thread: while the program exits no others can be started."""
        try:
            self.commit(map)
        except BaseException as error:
            self.error = error

    def commit(self, each: Callable[..., Iterable[None]]) -> None:
        """Flush everything, then rename."""
        try:
            if self._last is not None:
                self._last(self.partial)
            list(each(flush, [self.partial, *self.partial.rglob("*")]))
            replace_directory(self.partial, self.path, self._replaced)
        except BaseException:
            self.discard()
            raise
        shutil.rmtree(self._replaced, ignore_errors=True)
        _in_use.discard(self._suffix)

    def discard(self) -> None:
        """Remove what was written."""
        shutil.rmtree(self.partial, ignore_errors=True)
        _in_use.discard(self._suffix)


def _map_in_threads(function: Callable[[Path], None], paths: Iterable[Path]) -> list[None]:
    """Flush in parallel, so the disk can merge the work."""
    try:
        with ThreadPoolExecutor() as pool:
            return list(pool.map(function, paths))
    except RuntimeError:  # no threads can be started while the program exits
        return list(map(function, paths))


_pending: list[_Write] = []
_failed: list[CheckpointError] = []


def remove_directory(path: Path) -> None:
    """Remove a checkpoint. It is hidden first: a crash never leaves half of it under its name."""
    suffix = _new_suffix()
    hidden = _hidden(path, "removed", suffix)
    replace(path, hidden)
    shutil.rmtree(hidden, ignore_errors=True)
    _in_use.discard(suffix)


def recover(directory: Path) -> None:
    """Restore directories whose process was killed between hiding the old one and naming the new one."""
    for left, name, state in _leftovers(directory):
        if state == "replaced" and not (directory / name).exists():
            replace(left, directory / name)


def clear_leftovers(directory: Path) -> None:
    """Remove what killed processes of this machine left unfinished."""
    recover(directory)
    for left, _, _ in _leftovers(directory):
        shutil.rmtree(left, ignore_errors=True)


def _hidden(path: Path, state: str, suffix: str) -> Path:
    return path.with_name(f".{path.name}.{state}-{suffix}")


def _new_suffix() -> str:
    """A suffix that tells this process's directories from those that a killed one left."""
    suffix = f"{_HOST}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    _in_use.add(suffix)
    return suffix


def _leftovers(directory: Path) -> list[tuple[Path, str, str]]:
    """Hidden directories of dead processes, each with the name it was written for and its state."""
    found = []
    for left in directory.glob(f".*.*-{_HOST}-*-*"):
        name, _, rest = left.name.removeprefix(".").rpartition(".")
        state, _, suffix = rest.partition("-")
        process = suffix.removeprefix(f"{_HOST}-").partition("-")[0]
        known = state in ("partial", "replaced", "removed") and process.isdigit()
        if known and suffix not in _in_use and not _is_alive(int(process)):
            found.append((left, name, state))
    return found


def _is_alive(process: int) -> bool:
    if process == os.getpid():
        return False  # an earlier process of the same number: this one's suffixes are in _in_use
    if os.name == "nt":
        return True  # os.kill would end it
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
