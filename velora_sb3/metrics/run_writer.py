"""Write episodes in batches."""

from __future__ import annotations

import sqlite3
import time
import warnings
from pathlib import Path

from velora_sb3.metrics.database import transact
from velora_sb3.metrics.runs import now

Row = tuple[int, float, int, float, float, int, float, int, str]

# A write takes milliseconds, tens of them on a slow disk: below one percent of training. A kill loses little.
BATCH_EPISODES = 2_000
BATCH_S = 5.0
# Other processes may hold the lock. Training does not wait long for it: the next write includes what is pending.
WAIT_S = 2.0
RETRY_AFTER_S = 30.0
LAST_WAIT_S = 30.0


class RunWriter:
    """Collects a run's episodes and writes them in batches.

    The first failed write warns; pending episodes are kept and written with the next attempt.
    """

    def __init__(self, path: Path, run_id: int) -> None:
        self._path = path
        self._run_id = run_id
        self._pending: list[Row] = []
        self._due = time.monotonic() + BATCH_S
        self._failing = self._warned = self._ended = False

    def add(self, row: Row) -> None:
        """Add an episode, and write if a batch is due."""
        self._pending.append(row)
        full = len(self._pending) >= BATCH_EPISODES and not self._failing
        if full or time.monotonic() >= self._due:
            self.write()

    def write(self) -> None:
        """Write the pending episodes."""
        error = self._try(None, WAIT_S)
        self._failing = error is not None
        self._due = time.monotonic() + (RETRY_AFTER_S if self._failing else BATCH_S)
        if error is not None and not self._warned:
            self._warned = True
            _warn(f"RecordMetrics cannot write to {self._path}: {error}. Training continues, and the write is retried.")

    def end(self, status: str) -> None:
        """Write the pending episodes and the run's final status. Idempotent."""
        if self._ended:
            return
        self._ended = True
        error = self._try(status, LAST_WAIT_S)
        if error is not None:
            lost = len(self._pending)
            _warn(f"RecordMetrics lost the last {lost} episodes, because it could not write to {self._path}: {error}")

    def _try(self, status: str | None, wait: float) -> Exception | None:
        rows = [(self._run_id, *row) for row in self._pending]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany("INSERT OR REPLACE INTO episodes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            if status is not None:
                connection.execute("UPDATE runs SET status = ?, ended = ? WHERE id = ?", (status, now(), self._run_id))

        try:
            transact(self._path, work, wait)
        except (sqlite3.Error, OSError, ValueError) as error:
            return error
        self._pending.clear()
        return None


def _warn(text: str) -> None:
    warnings.warn(text, RuntimeWarning, stacklevel=3)
