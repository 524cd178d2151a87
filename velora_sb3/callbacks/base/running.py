"""The callbacks between their start and their end, and what ends them if ``learn()`` does not."""

from __future__ import annotations

import atexit
import multiprocessing.util
import os
import traceback
from functools import cache
from typing import Any

from velora_sb3._signals import postponed_signals
from velora_sb3.callbacks.base.termination import TERMINATION

_running: dict[Any, None] = {}  # of VeloraCallback, which imports this module; keeps their order


def running_callbacks() -> list[Any]:
    """The callbacks that have started and not ended."""
    return list(_running)


def add_running(callback: Any) -> None:
    """A callback starts: the process and its signals will end it."""
    _running[callback] = None
    _end_with_process(os.getpid())
    TERMINATION.install()


def remove_running(callback: Any) -> None:
    """A callback has ended; after the last one a signal that waited takes effect."""
    _running.pop(callback, None)
    if not _running:
        TERMINATION.uninstall()


def end_interrupted(callback: Any) -> None:
    """End a callback whose ``learn()`` was interrupted; its errors must not keep others from ending."""
    try:
        callback._end(interrupted=True)
    except Exception:
        traceback.print_exc()


@cache
def _end_with_process(_pid: int) -> None:
    """End callbacks also in a process of multiprocessing, which leaves without ``atexit`` if it was forked."""
    if multiprocessing.parent_process() is not None:
        multiprocessing.util.Finalize(None, end_all, exitpriority=0)


@atexit.register
def end_all() -> None:
    """End every callback that is running."""
    with postponed_signals():
        for callback in running_callbacks():
            end_interrupted(callback)
