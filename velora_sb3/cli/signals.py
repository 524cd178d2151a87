"""The signals that ask a process to end: Ctrl-C, SIGTERM of a cluster or a container, SIGHUP of a closed terminal."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

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


@contextmanager
def on_signals(handle: Callable[[int], object]) -> Iterator[None]:
    """Call a function when a signal asks this process to end.

    Signals that are ignored, as SIGHUP is under nohup, stay ignored. Processes that are forked from this one, such as
    an environment's workers, keep the handlers from before. No effect outside the main thread, where Python allows no
    signal handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    process = os.getpid()
    found = {signum: signal.getsignal(signum) for signum in SIGNALS}
    previous = {signum: handler for signum, handler in found.items() if handler not in (signal.SIG_IGN, None)}

    def receive(signum: int, frame: FrameType | None) -> None:
        before = previous[signum]
        if os.getpid() == process:
            handle(signum)
        elif callable(before):
            before(signum, frame)
        else:
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)

    for signum in previous:
        signal.signal(signum, receive)
    try:
        yield
    finally:
        for signum, before in previous.items():
            signal.signal(signum, before)
