"""A tracker's run, seen from training: calls go in, and nothing is waited for before the end."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Any

from velora_sb3.tracking.worker_process import RunProcess

MAX_WAITING = 50_000
START_LIMIT_S = 60.0
CLOSING_START_LIMIT_S = 10.0
FINISH_LIMIT_S = 60.0

Call = tuple[str, tuple[Any, ...]]


class Tracker:
    """A run in a process of its own, fed by a thread of its own.

    Calls wait in a queue until the run has started, and reach it in order. If it cannot be started online, or its
    process dies, the calls that are left go to a run of the same name on disk.

    Args:
        kind: ``comet`` or ``wandb``.
        settings: Arguments of the run's class.
        online: Whether to send the run to a server.

    Attributes:
        problems: What went wrong, in sentences. Whoever reads them takes them out.
        whereabouts: Where the run is to be found, in words; None as long as nobody knows.
        went_offline: Whether it was to be online and is not.
    """

    def __init__(self, kind: str, settings: dict[str, Any], *, online: bool) -> None:
        self.problems: deque[str] = deque()
        self.whereabouts: str | None = None
        self.went_offline = False
        self._kind, self._settings, self._online = kind, settings, online
        self._calls: queue.Queue[Call] = queue.Queue(MAX_WAITING)
        self._unsent: Call | None = None
        self._lost = 0
        self._closed_at = math.inf
        self._ended = threading.Event()
        threading.Thread(target=self._serve, name=f"velora-{kind}", daemon=True).start()

    def call(self, name: str, *arguments: Any) -> None:
        """Have a method of the run called, soon.

        Args:
            name: Its name.
            *arguments: Its arguments, as pickle can hold them.
        """
        try:
            self._calls.put_nowait((name, arguments))
        except queue.Full:
            self._lost += 1

    def close(self) -> None:
        """End the run, and wait until everything is sent or written, as long as it gets on."""
        self._closed_at = time.monotonic()
        with suppress(queue.Full):
            self._calls.put(("finish", ()), timeout=FINISH_LIMIT_S)
        left = self._calls.qsize()
        while not self._ended.wait(FINISH_LIMIT_S):
            if self._calls.qsize() >= left:
                self.problems.append("it has not ended yet, and goes on by itself as long as the program runs")
                break
            left = self._calls.qsize()
        if self._lost:
            self.problems.append(f"{self._lost} records are lost: they came faster than they could be recorded")

    def _serve(self) -> None:
        """What the thread does: from the queue into the process."""
        try:
            for online in [True, False] if self._online else [False]:
                if self._serve_process(online):
                    return
        except Exception as error:  # such as: this machine starts no more processes
            self.problems.append(f"nothing is recorded: {type(error).__name__}: {error}")
        finally:
            self._ended.set()

    def _serve_process(self, online: bool) -> bool:
        """Feed one process up to the last call; False if it failed, and the calls that are left are another's."""
        process = self._process = RunProcess(self._kind, online, self._settings)
        started_at = time.monotonic()
        while not process.answered.wait(0.05):
            limit = started_at + START_LIMIT_S
            if online:  # once training is over, it waits
                limit = min(limit, self._closed_at + CLOSING_START_LIMIT_S)
            if time.monotonic() > limit:
                process.kill("no answer")
        self.whereabouts = process.whereabouts
        self.went_offline = self._online and not process.online
        served = process.failure is None and self._feed(process)
        self.whereabouts = process.whereabouts
        self.problems.extend(process.problems)
        if not served:
            process.kill()
            self.problems.append(
                f"{process.failure}; {'the run goes to disk' if online else 'nothing more is recorded'}"
            )
        return served

    def _feed(self, process: RunProcess) -> bool:
        """Hand on calls up to the last; False if the process does not take them."""
        while True:
            call = self._unsent or self._calls.get()
            self._unsent = None if process.send(call, more=not self._calls.empty()) else call
            if self._unsent is not None:
                return False
            if call[0] == "finish":
                process.finish(FINISH_LIMIT_S)
                return True
            while process.problems:
                self.problems.append(process.problems.popleft())
