"""The process that holds a run, from outside."""

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

# main() of child.py, without importing velora_sb3 itself: with torch that takes seconds, and hundreds of megabytes.
PROGRAM = """
import sys
sys.path[:] = [path for path in sys.path if path]
import types
package = types.ModuleType("velora_sb3")
package.__path__ = [sys.argv[1]]
sys.modules["velora_sb3"] = package
from velora_sb3.tracking.worker import main
main()
"""

LEFT_BEHIND: list[subprocess.Popen[bytes]] = []  # still sending when nobody waited any more


class RunProcess:
    """Starts the process, sends it calls, hears its reports.

    Attributes:
        answered: Set when the run has started, or failed to.
        failure: Why there is no run, or no longer; None if there is one.
        problems: What went wrong otherwise.
        online: Whether the run is sent to a server.
        whereabouts: Where the run is to be found, in words.
    """

    def __init__(self, kind: str, online: bool, settings: dict[str, Any]) -> None:
        self.answered = threading.Event()
        self.online = online
        self.failure: str | None = None
        self.problems: deque[str] = deque()
        self.whereabouts: str | None = None
        self._released = threading.Event()
        self._finished = False
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(Path(__file__).parent.parent)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is not for it, and killing it kills what it has started
        )
        threading.Thread(target=self._listen, name=f"velora-{kind}-reports", daemon=True).start()
        self._write(sys.path)
        self._write((kind, online, settings), flush=True)

    def send(self, call: tuple[str, tuple[Any, ...]], *, more: bool) -> bool:
        """Send a call."""
        if self.failure is None:
            self._write(call, flush=not more)
        return self.failure is None

    def finish(self, limit_s: float) -> None:
        """Wait until the run, which has been told to, has ended."""
        self._close()
        if not self._released.wait(limit_s):
            self.problems.append("it is still being sent, which goes on for a while")
        elif self.failure is not None:
            self.problems.append(f"{self.failure}; the last records may be lost")
        try:
            self._process.wait(5.0 if self._finished else 0.0)
        except subprocess.TimeoutExpired:
            LEFT_BEHIND.append(self._process)

    def kill(self, why: str | None = None) -> None:
        """End the process at once, and what it has started."""
        self.failure = self.failure or why
        if self._process.poll() is None:
            if os.name == "posix":
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        self._process.wait()
        self._close()

    def _write(self, what: Any, *, flush: bool = False) -> None:
        assert self._process.stdin is not None
        try:
            pickle.dump(what, self._process.stdin)
            if flush:
                self._process.stdin.flush()
        except OSError:
            self._end()

    def _close(self) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()

    def _end(self) -> None:
        """Nobody is there any more."""
        if not self._finished:
            self.failure = self.failure or "its process ended"
        self.answered.set()
        self._released.set()

    def _listen(self) -> None:
        """What the thread does: hear reports until there are no more."""
        assert self._process.stdout is not None
        with self._process.stdout as reports:
            for line in reports:
                self._take(json.loads(line))
        self._end()

    def _take(self, report: dict[str, str]) -> None:
        self.whereabouts = report.get("whereabouts", self.whereabouts)
        if "problem" in report:
            self.problems.append(report["problem"])
        self.failure = report.get("failure", self.failure)
        self.online = self.online and "offline" not in report
        self._finished = self._finished or "finished" in report
        if self._finished or "released" in report:
            self._released.set()
        if "started" in report:
            self.answered.set()
