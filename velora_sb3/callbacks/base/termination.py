"""End a run in order when the process is asked to terminate."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# What schedulers, containers and closed terminals send; Windows has no SIGHUP.
SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Termination:
    """Turns SIGTERM and SIGHUP into ``SystemExit``, so that ``with`` blocks and ``atexit`` functions run.

    Only signals with the default action, which kills the process at once, are handled: a program that handles or
    ignores them knows better. A forked process, such as a worker of ``SubprocVecEnv``, keeps the default action. Python
    allows signal handlers in the main thread only; elsewhere nothing is installed.
    """

    def __init__(self) -> None:
        self._process = 0  # that in which the handlers are installed; 0 for none
        self._depth = 0
        self._pending: int | None = None

    def install(self) -> None:
        """Handle the signals from now on. Idempotent."""
        if self._process != os.getpid() and threading.current_thread() is threading.main_thread():
            self._process, self._pending = os.getpid(), None
            for number in SIGNALS:
                if signal.getsignal(number) is signal.SIG_DFL:
                    signal.signal(number, self._on_signal)

    def uninstall(self) -> None:
        """Restore the default actions, unless the program has installed its own handlers since."""
        if self._process == os.getpid() and threading.current_thread() is threading.main_thread():
            self._process = 0
            for number in SIGNALS:
                if signal.getsignal(number) == self._on_signal:
                    signal.signal(number, signal.SIG_DFL)

    @contextmanager
    def postponed(self) -> Iterator[None]:
        """Let a block finish, such as one that writes the last checkpoint, before a signal takes effect."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._pending is not None and self._depth == 0:
                number, self._pending = self._pending, None
                raise SystemExit(128 + number)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._process != os.getpid():  # a forked process, or the last callback ended in another thread
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif self._depth:
            self._pending = number
        else:
            raise SystemExit(128 + number)
