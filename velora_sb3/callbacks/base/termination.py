"""End a run in order when the process is asked to terminate."""

from __future__ import annotations

import signal
from typing import NoReturn

from velora_sb3._signals import SignalHandlers


class Termination:
    """Turns SIGTERM and SIGHUP into ``SystemExit``, so that ``with`` blocks and ``atexit`` functions run.

    Only signals with the default action, which kills the process at once, are handled: a program that handles or
    ignores them knows better. After :meth:`wait`, the first signal has no effect until :meth:`check`, and a second one
    takes effect at once.

    Attributes:
        pending: The signal that has not taken effect yet; None for none.
    """

    def __init__(self) -> None:
        self._ending = SignalHandlers(_end, (signal.SIG_DFL,))
        self._waiting = SignalHandlers(self._hold, (signal.SIG_DFL, signal.default_int_handler))
        self.pending: int | None = None

    def install(self) -> None:
        """Handle the signals from now on. Idempotent."""
        if not self._waiting.are_installed and not self._ending.are_installed:
            self.pending = None
            self._ending.install()

    def wait(self) -> None:
        """Let the first signal wait for :meth:`check`, Ctrl-C as well, until :meth:`uninstall`."""
        self._ending.uninstall()
        self._waiting.install()

    def check(self) -> None:
        """Let a signal that waits take effect."""
        if self.pending is not None:
            number, self.pending = self.pending, None
            _end(number)

    def uninstall(self) -> None:
        """Restore the handlers from before, unless the program has installed its own since; a signal takes effect."""
        self._ending.uninstall()
        self._waiting.uninstall()
        self.check()

    def _hold(self, number: int) -> None:
        if self.pending is None:
            self.pending = number
        else:
            self.pending = None
            _end(number)


def _end(number: int) -> NoReturn:
    """``KeyboardInterrupt`` for Ctrl-C, otherwise ``SystemExit`` with a shell's exit code."""
    raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)


TERMINATION = Termination()
