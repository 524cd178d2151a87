"""End a run in order when the process is asked to terminate."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# What schedulers, containers and closed terminals send; Windows has no SIGHUP.
SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


def ended_by(number: int) -> BaseException:
    """What a signal raises: ``KeyboardInterrupt`` for Ctrl-C, ``SystemExit`` with a shell's exit code otherwise."""
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)


class Termination:
    """Turns SIGTERM and SIGHUP into ``SystemExit``, so that ``with`` blocks and ``atexit`` functions run.

    Only signals with the default action, which kills the process at once, are handled: a program that handles or
    ignores them knows better. A forked process, such as a worker of ``SubprocVecEnv``, keeps the default action. Python
    allows signal handlers in the main thread only; elsewhere nothing is installed.

    After :meth:`wait`, the first signal has no effect until :meth:`check`, and a second one takes effect at once.

    Attributes:
        pending: The signal that has not taken effect yet; None for none.
    """

    def __init__(self) -> None:
        self._process = 0  # that in which the handlers are installed; 0 for none
        self._depth = 0
        self._waiting = False
        self._previous: dict[int, Any] = {}
        self.pending: int | None = None

    def install(self) -> None:
        """Handle the signals from now on. Idempotent."""
        if self._process != os.getpid() and threading.current_thread() is threading.main_thread():
            self._process, self._waiting, self.pending = os.getpid(), False, None
            self._previous.clear()
            for number in SIGNALS:
                self._handle(number, signal.SIG_DFL)

    def wait(self) -> None:
        """Let the first signal wait for :meth:`check`, Ctrl-C as well, as long as the handlers are installed."""
        if self._process == os.getpid() and threading.current_thread() is threading.main_thread():
            self._waiting = True
            self._handle(signal.SIGINT, signal.default_int_handler)

    def check(self) -> None:
        """Let a signal that waits take effect."""
        if self.pending is not None:
            number, self.pending = self.pending, None
            raise ended_by(number)

    def uninstall(self) -> None:
        """Restore the handlers from before, unless the program has installed its own since; a signal takes effect."""
        if self._process == os.getpid() and threading.current_thread() is threading.main_thread():
            self._process = 0
            for number, handler in self._previous.items():
                if signal.getsignal(number) == self._on_signal:
                    signal.signal(number, handler)
            self._waiting = False
            self.check()

    @contextmanager
    def postponed(self) -> Iterator[None]:
        """Let a block finish, such as one that writes the last checkpoint, before a signal takes effect."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0 and not self._waiting:
                self.check()

    def _handle(self, number: int, default: Any) -> None:
        if signal.getsignal(number) is default:
            self._previous[number] = signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._process != os.getpid():  # a forked process, or the last callback ended in another thread
            signal.signal(number, self._previous.get(number, signal.SIG_DFL))
            os.kill(os.getpid(), number)
        elif self._depth or (self._waiting and self.pending is None):
            self.pending = number
        else:
            self.pending = None
            raise ended_by(number)


TERMINATION = Termination()
