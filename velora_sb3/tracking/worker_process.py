"""The worker process, seen from the training process."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

WORKER = Path(__file__).absolute().parent / "worker"  # has a __main__.py: Python runs it by its path, in a zip file too
UNFINISHED: list[subprocess.Popen[bytes]] = []  # still sending after the time limit


class WorkerProcess:
    """Starts the process, in a working directory, sends it calls and reads its reports.

    Attributes:
        ready: Set once the run has started or failed.
        failure: Why the run failed; None while it has not.
        problems: Other errors.
        online: Whether the run is sent to a server.
        location: Where to find the run: a URL or a path; None before it has started.
    """

    def __init__(self, kind: str, online: bool, settings: dict[str, Any], directory: Path | None = None) -> None:
        self.ready = threading.Event()
        self.online = online
        self.failure: str | None = None
        self.problems: deque[str] = deque()
        self.location: str | None = None
        self._released = threading.Event()
        self._finished = False
        self._process = subprocess.Popen(
            [sys.executable, str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=directory,
            start_new_session=True,  # Ctrl-C does not reach it, and killing the group kills its children
        )
        assert self._process.stdin is not None and self._process.stdout is not None  # they are pipes
        self._calls, self._reports = self._process.stdin, self._process.stdout
        threading.Thread(target=self._read_reports, name=f"velora-{kind}-reports", daemon=True).start()
        self._write(sys.path)
        self._write((kind, online, settings), flush=True)

    def send(self, call: tuple[str, tuple[Any, ...]], *, more: bool) -> bool:
        """Send a call."""
        if self.failure is None:
            self._write(call, flush=not more)
        return self.failure is None

    def finish(self, timeout_s: float) -> None:
        """Wait until the run, after its call of ``finish``, has ended."""
        self._close()
        if not self._released.wait(timeout_s):
            self.problems.append(f"the upload has not finished after {timeout_s:.0f} s and continues in the background")
        elif self.failure is not None:
            self.problems.append(f"{self.failure}; the last records may be lost")
        try:
            self._process.wait(5.0 if self._finished else 0.0)
        except subprocess.TimeoutExpired:
            UNFINISHED.append(self._process)

    def kill(self, why: str | None = None) -> None:
        """End the process and its children at once."""
        self.failure = self.failure or why
        if self._process.poll() is None:
            if os.name == "posix":
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        self._process.wait()
        self._close()

    def _write(self, message: Any, *, flush: bool = False) -> None:
        try:
            pickle.dump(message, self._calls)
            if flush:
                self._calls.flush()
        except OSError:
            self._ended()

    def _close(self) -> None:
        with suppress(OSError):
            self._calls.close()

    def _ended(self) -> None:
        """The process is gone."""
        if not self._finished:
            self.failure = self.failure or "the worker process died"
        self.ready.set()
        self._released.set()

    def _read_reports(self) -> None:
        """The thread's work."""
        with self._reports:
            for line in self._reports:
                self._handle(json.loads(line))
        self._ended()

    def _handle(self, report: dict[str, str]) -> None:
        self.location = report.get("location", self.location)
        if "problem" in report:
            self.problems.append(report["problem"])
        self.failure = report.get("failure", self.failure)
        self.online = self.online and "offline" not in report
        self._finished = self._finished or "finished" in report
        if self._finished or "released" in report:
            self._released.set()
        if "started" in report:
            self.ready.set()
