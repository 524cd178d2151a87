"""The signals that ask a process to end: Ctrl-C, SIGTERM of a cluster or a container, SIGHUP of a closed terminal."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Stopped(KeyboardInterrupt):
    """A signal asked the process to end; it ends as after Ctrl-C.

    Attributes:
        signum: The signal.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


def raise_stopped(signum: int) -> NoReturn:
    """Raise ``Stopped``."""
    raise Stopped(signum)


def signal_of(error: KeyboardInterrupt) -> int:
    """The signal behind a ``KeyboardInterrupt``."""
    return error.signum if isinstance(error, Stopped) else signal.SIGINT


class SignalHandlers:
    """Call a function when a signal asks this process to end.

    Signals that are ignored, as SIGHUP is under nohup, stay ignored. Processes that are forked from this one, such as
    an environment's workers, get the previous handlers back. No effect outside the main thread, where Python allows no
    signal handlers.

    Args:
        handle: The function; it gets the signal's number.
        replaced: The handlers that may be replaced, such as ``signal.SIG_DFL``. None for all.
    """

    def __init__(self, handle: Callable[[int], object], replaced: Collection[Any] | None = None) -> None:
        self._handle, self._replaced = handle, replaced
        self._previous: dict[int, Any] = {}

    @property
    def are_installed(self) -> bool:
        """Whether they are installed in this process."""
        return self in _INSTALLED

    def install(self) -> None:
        """Handle the signals from now on. Idempotent."""
        if self in _INSTALLED or threading.current_thread() is not threading.main_thread():
            return
        found = {signum: signal.getsignal(signum) for signum in SIGNALS}
        self._previous = {
            signum: handler
            for signum, handler in found.items()
            if handler not in (signal.SIG_IGN, None) and (self._replaced is None or handler in self._replaced)
        }
        _INSTALLED.append(self)
        for signum in self._previous:
            signal.signal(signum, self._receive)

    def uninstall(self) -> None:
        """Restore the previous handlers, except where others were installed since. Idempotent."""
        if self not in _INSTALLED:
            return
        _INSTALLED.remove(self)
        for signum, previous in self._previous.items():
            for other in _INSTALLED:  # installed since; it must not bring these back
                if other._previous.get(signum) == self._receive:
                    other._previous[signum] = previous
            if threading.current_thread() is threading.main_thread() and signal.getsignal(signum) == self._receive:
                signal.signal(signum, previous)

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        if self in _INSTALLED:
            self._handle(signum)
        else:  # uninstalled in another thread
            signal.signal(signum, self._previous[signum])
            signal.raise_signal(signum)


_INSTALLED: list[SignalHandlers] = []


@contextmanager
def on_signals(handle: Callable[[int], object]) -> Iterator[None]:
    """Call a function when a signal asks this process to end: see :class:`SignalHandlers`."""
    handlers = SignalHandlers(handle)
    handlers.install()
    try:
        yield
    finally:
        handlers.uninstall()


@contextmanager
def postponed_signals() -> Iterator[None]:
    """Let a block finish, such as one that writes a checkpoint, before a signal takes effect.

    An exception that a handler raises can get lost: within ``torch.save`` it becomes a ``RuntimeError`` of a failed
    write.
    """
    received: list[int] = []
    try:
        with on_signals(received.append):
            yield
    finally:
        for signum in dict.fromkeys(received):
            signal.raise_signal(signum)


@contextmanager
def unmasked_signals() -> Iterator[None]:
    """Raise what a signal raised in the block instead of the error that it became.

    Ctrl-C within ``torch.save`` arrives as the ``RuntimeError`` of a failed write, and code that continues after errors
    would continue after it. Exceptions that were already handled before the block do not count.
    """
    handled = sys.exc_info()[1]
    try:
        yield
    except Exception as error:
        behind: BaseException | None = error
        while behind is not None and behind is not handled:
            if _is_from_a_signal(behind):
                raise behind from None
            behind = behind.__context__
        raise


def _is_from_a_signal(error: BaseException) -> bool:
    """Whether it is a ``KeyboardInterrupt``, or a ``SystemExit`` with a shell's exit code for a signal."""
    if isinstance(error, SystemExit):
        return isinstance(error.code, int) and error.code > 128
    return isinstance(error, KeyboardInterrupt)


def _before_fork() -> None:
    # A signal that arrives before Python has finished forking is dropped if Python handles it.
    if _INSTALLED:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def _after_fork_in_parent() -> None:
    if _INSTALLED:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _after_fork_in_child() -> None:
    if _INSTALLED:
        while _INSTALLED:
            _INSTALLED[-1].uninstall()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
