"""Directories that are complete or absent, even if the program or the machine dies while they are written.

Each is written under a hidden name ``.<name>.<state>-<machine>-<process>-<random>``, flushed, and renamed. The hidden
name tells what a killed process left behind, so that the next one can restore or remove it.

Process ids do not tell whether a writer is alive: containers that share a directory have their own, and so have other
machines. A writer therefore holds a lock on the directory that it writes, which ends with its process. Locks are valid
among the processes of one kernel, which its boot id identifies; file systems shared by several machines may not pass
them on. What another machine left, or this one before a reboot, is removed once it has been unchanged for a day.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from velora_sb3._atomic import flush, replace, replace_directory
from velora_sb3.checkpoints.format.errors import CheckpointError

if os.name != "nt":
    import fcntl

HIDDEN = re.compile(r"\.(?P<name>.+)\.(?P<state>partial|replaced|removed)-(?P<suffix>(?P<machine>.+)-\d+-[0-9a-f]{8})")
ABANDONED_AFTER = 24 * 60 * 60  # seconds


def _machine() -> str:
    """The kernel that runs this process since its last boot; containers on it share it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip().replace("-", "")
    except OSError:
        return socket.gethostname().replace(".", "_")


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
        raise CheckpointError(f"{path} already exists and will not be replaced: choose another path, or move it away")
    path.parent.mkdir(parents=True, exist_ok=True)
    clear_leftovers(path.parent)
    write = _Write(path, last)
    try:
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
        self.path, self._last = path, last
        suffix, self._lock = _locked_directory(path)
        self.partial, self._replaced = (_hidden(path, state, suffix) for state in ("partial", "replaced"))
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
        _unlock(self._lock)
        shutil.rmtree(self._replaced, ignore_errors=True)

    def discard(self) -> None:
        """Remove what was written."""
        shutil.rmtree(self.partial, ignore_errors=True)
        _unlock(self._lock)


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
    hidden = _hidden(path, "removed", _new_suffix())
    replace(path, hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def recover(directory: Path) -> None:
    """Restore directories whose writer died between hiding the old one and naming the new one."""
    for left, name, state in _leftovers(directory):
        if state == "replaced" and not (directory / name).exists():
            with contextlib.suppress(OSError):  # another process was faster
                replace(left, directory / name)


def clear_leftovers(directory: Path) -> None:
    """Remove what dead processes left unfinished."""
    recover(directory)
    for left, name, state in _leftovers(directory):
        if state != "replaced" or (directory / name).exists():
            shutil.rmtree(left, ignore_errors=True)


def _hidden(path: Path, state: str, suffix: str) -> Path:
    return path.with_name(f".{path.name}.{state}-{suffix}")


def _new_suffix() -> str:
    return f"{_machine()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


def _leftovers(directory: Path) -> Iterator[tuple[Path, str, str]]:
    """Hidden directories that no process needs, each with the name it was written for and its state."""
    for left in list(directory.glob(".*.*-*-*-*")):
        match = HIDDEN.fullmatch(left.name)
        if match is None:
            continue
        name, state = match["name"], match["state"]
        if state == "removed" or (state == "replaced" and (directory / name).exists()):
            yield left, name, state  # obsolete, even if its process lives
            continue
        partial = _hidden(directory / name, "partial", match["suffix"])
        with _abandoned(partial if partial.exists() else left, match["machine"]) as abandoned:
            if abandoned:
                yield left, name, state


@contextmanager
def _abandoned(directory: Path, machine: str) -> Iterator[bool]:
    """Whether the process that wrote a hidden directory is gone for certain; it is locked within the block."""
    lock = None
    if machine == _machine():
        try:
            lock = _try_to_lock(directory)
        except BlockingIOError:
            yield False
            return
        except OSError:  # removed, or on a file system without locks
            pass
    try:
        yield lock is not None or _age(directory) > ABANDONED_AFTER
    finally:
        _unlock(lock)


def _age(directory: Path) -> float:
    """Seconds since the last change in a directory, on the file system's clock; 0 if that cannot be told."""
    try:
        changed = max(path.stat().st_mtime for path in (directory, *directory.rglob("*")))
        with tempfile.TemporaryFile(dir=directory.parent) as file:
            return os.fstat(file.fileno()).st_mtime - changed
    except OSError:
        return 0.0


def _locked_directory(path: Path) -> tuple[str, int | None]:
    """Make a hidden directory to write to, and lock it if the file system can: its suffix, and the lock."""
    while True:
        suffix = _new_suffix()
        partial = _hidden(path, "partial", suffix)
        partial.mkdir()
        try:
            lock = _try_to_lock(partial)
        except (BlockingIOError, FileNotFoundError):  # another process took it for a leftover before it was locked
            continue
        except OSError:
            return suffix, None
        if partial.exists():
            return suffix, lock
        _unlock(lock)


def _try_to_lock(directory: Path) -> int | None:
    """Lock a directory until the process ends, or until :func:`_unlock`; raises ``BlockingIOError`` if it is locked."""
    if os.name == "nt":
        return None
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(handle)
        raise
    return handle


def _unlock(lock: int | None) -> None:
    if lock is not None:
        fcntl.flock(lock, fcntl.LOCK_UN)  # a child process may have inherited the handle
        os.close(lock)
