"""A tracker's run, seen from training: calls return at once, only the end waits."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

from velora_sb3.tracking.worker_process import WorkerProcess

MAX_QUEUED = 50_000
START_TIMEOUT_S = 60.0
CLOSING_START_TIMEOUT_S = 10.0
FINISH_TIMEOUT_S = 60.0

Call = tuple[str, tuple[Any, ...]]


class Tracker:
    """A run in a worker process, fed by a thread.

    Calls are queued until the run has started, and reach it in order. If it cannot start online, or its process dies,
    the remaining calls go to a run of the same name on disk.

    Args:
        kind: ``comet`` or ``wandb``.
        settings: Arguments of the run's class.
        online: Whether to send the run to a server.
        directory: Where trackers write their files; the working directory if it is None or does not exist.

    Attributes:
        problems: Errors so far, one sentence each; the reader removes them.
        location: Where to find the run: a URL, or a path and the command that sends it; None before it has started.
        went_offline: Whether an online run was recorded to disk instead.
    """

    def __init__(self, kind: str, settings: dict[str, Any], *, online: bool, directory: Path | None = None) -> None:
        self.problems: deque[str] = deque()
        self.location: str | None = None
        self.went_offline = False
        self._kind, self._settings, self._online = kind, settings, online
        self._directory = directory if directory is not None and directory.is_dir() else working_directory()
        self._calls: queue.Queue[Call] = queue.Queue(MAX_QUEUED)
        self._unsent: Call | None = None
        self._lost = 0
        self._closed_at = math.inf
        self._ended = threading.Event()
        threading.Thread(target=self._serve, name=f"velora-{kind}", daemon=True).start()

    def call(self, name: str, *arguments: Any) -> None:
        """Queue a call of one of the run's methods.

        Args:
            name: The method.
            *arguments: Its arguments; they must be picklable.
        """
        try:
            self._calls.put_nowait((name, arguments))
        except queue.Full:
            self._lost += 1

    def close(self, success: bool = True) -> None:
        """End the run and wait until everything is sent or written, for as long as there is progress.

        Args:
            success: Whether training ended as it should.
        """
        self._closed_at = time.monotonic()
        with suppress(queue.Full):
            self._calls.put(("finish", (success,)), timeout=FINISH_TIMEOUT_S)
        left = self._calls.qsize()
        while not self._ended.wait(FINISH_TIMEOUT_S):
            if self._calls.qsize() >= left:
                self.problems.append("the run has not finished; recording continues while the program runs")
                break
            left = self._calls.qsize()
        if self._lost:
            self.problems.append(f"{self._lost} records were dropped: they came faster than they could be recorded")

    def _serve(self) -> None:
        """The thread's work: from the queue into the process."""
        try:
            for online in [True, False] if self._online else [False]:
                if self._serve_process(online):
                    return
        except Exception as error:  # such as no more processes on this machine
            self.problems.append(f"nothing is being recorded: {type(error).__name__}: {error}")
        finally:
            self._ended.set()

    def _serve_process(self, online: bool) -> bool:
        """Feed one process up to the last call; False if it failed and another has to take over."""
        process = self._process = WorkerProcess(self._kind, online, self._settings, self._directory)
        started_at = time.monotonic()
        while not process.ready.wait(0.05):
            deadline = started_at + START_TIMEOUT_S
            if online:  # once training is over, the user waits
                deadline = min(deadline, self._closed_at + CLOSING_START_TIMEOUT_S)
            if time.monotonic() > deadline:
                process.kill("the run did not start in time")
        self.location = process.location
        self.went_offline = self._online and not process.online
        served = process.failure is None and self._feed(process)
        self.location = process.location
        self.problems.extend(process.problems)
        if not served:
            process.kill()
            fallback = "recording to disk instead" if online else "recording has stopped"
            self.problems.append(f"{process.failure}; {fallback}")
        return served

    def _feed(self, process: WorkerProcess) -> bool:
        """Send calls up to the last; False if the process has failed."""
        while True:
            call = self._unsent or self._calls.get()
            self._unsent = None if process.send(call, more=not self._calls.empty()) else call
            if self._unsent is not None:
                return False
            if call[0] == "finish":
                process.finish(FINISH_TIMEOUT_S)
                return True
            while process.problems:
                self.problems.append(process.problems.popleft())


def working_directory() -> Path | None:
    """The working directory now, as the program may change it; None if it was removed."""
    with suppress(FileNotFoundError):
        return Path.cwd()
    return None
