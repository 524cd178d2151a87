"""The results of a sweep: one SQLite file, which only the process that runs the sweep writes."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from velora_sb3._statistics import bootstrap_interval, interquartile_mean

SCHEMA = """
CREATE TABLE IF NOT EXISTS trials (
    number INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, status TEXT NOT NULL, settings TEXT NOT NULL,
    score REAL, low REAL, high REAL, timesteps INTEGER NOT NULL DEFAULT 0, seconds REAL NOT NULL DEFAULT 0, error TEXT
);
CREATE TABLE IF NOT EXISTS evaluations (
    trial TEXT NOT NULL, seed INTEGER NOT NULL, timesteps INTEGER NOT NULL, mean_return REAL, final INTEGER NOT NULL,
    PRIMARY KEY (trial, seed, timesteps, final)
);
CREATE TABLE IF NOT EXISTS lineage (
    trial TEXT NOT NULL, parent TEXT NOT NULL, timesteps INTEGER NOT NULL, before TEXT NOT NULL, after TEXT NOT NULL,
    PRIMARY KEY (trial, parent, timesteps)
);
"""
RUNNING, FINISHED, STOPPED, FAILED = "running", "finished", "stopped early", "failed"
OUT_OF_TIME = "out of time"


@dataclass
class Trial:
    """One trial of a sweep.

    Attributes:
        number: Its number, from 1, in the order in which trials started.
        id: Ray's name for it, and the name of its directory.
        status: ``running``, ``finished``, ``stopped early``, ``failed`` or ``out of time``.
        settings: The values that were drawn; in population-based training the latest.
        score: The interquartile mean over its seeds of the latest mean returns; None before the first evaluation.
        low: Lower end of the bootstrap interval of the score.
        high: Upper end.
        timesteps: Timesteps of its latest evaluation.
        seconds: How long it has trained.
        error: Why it failed.
        curve: Timesteps, and mean returns of its seeds, of each evaluation.
    """

    number: int
    id: str
    status: str
    settings: dict[str, Any]
    score: float | None
    low: float | None
    high: float | None
    timesteps: int
    seconds: float
    error: str | None
    curve: list[tuple[int, list[float]]] = field(default_factory=list)


@dataclass
class Inheritance:
    """A trial that took the place of another one in population-based training.

    Attributes:
        trial: The trial that started again from another one's checkpoint.
        parent: The other one.
        timesteps: Timesteps of the checkpoint.
        before: The parent's settings.
        after: The perturbed settings with which the trial went on.
    """

    trial: str
    parent: str
    timesteps: int
    before: dict[str, Any]
    after: dict[str, Any]


class Results:
    """The file of a sweep.

    Args:
        path: The file; created if necessary.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def start(self, trial: str, settings: Mapping[str, Any], known: Collection[str]) -> None:
        """A trial starts, or starts again. All but the known ones were forgotten when the sweep was killed."""
        with self._open() as file:
            for row in file.execute("SELECT id FROM trials").fetchall():
                if row["id"] not in known:
                    file.execute("DELETE FROM trials WHERE id = ?", (row["id"],))
                    file.execute("DELETE FROM evaluations WHERE trial = ?", (row["id"],))
                    file.execute("DELETE FROM lineage WHERE ? IN (trial, parent)", (row["id"],))
            number = file.execute("SELECT COALESCE(MAX(number), 0) + 1 FROM trials").fetchone()[0]
            row = (number, trial, RUNNING, json.dumps(settings))
            file.execute("INSERT OR IGNORE INTO trials (number, id, status, settings) VALUES (?, ?, ?, ?)", row)
            change = "UPDATE trials SET status = ?, settings = ?, error = NULL WHERE id = ?"
            file.execute(change, (RUNNING, json.dumps(settings), trial))

    def evaluate(self, trial: str, timesteps: int, returns: Mapping[int, float], seconds: float, final: bool) -> None:
        """The seeds of a trial have evaluated. Evaluations after this one were those of a state that was lost."""
        scores = list(returns.values())
        known = all(map(math.isfinite, scores))
        score = (interquartile_mean(scores), *bootstrap_interval(scores)) if known else (None, None, None)
        with self._open() as file:
            file.execute("DELETE FROM evaluations WHERE trial = ? AND timesteps > ?", (trial, timesteps))
            rows = [(trial, seed, timesteps, value if known else None, final) for seed, value in returns.items()]
            file.executemany("INSERT OR REPLACE INTO evaluations VALUES (?, ?, ?, ?, ?)", rows)
            change = "UPDATE trials SET score = ?, low = ?, high = ?, timesteps = ?, seconds = ? WHERE id = ?"
            file.execute(change, (*score, timesteps, seconds, trial))

    def inherit(self, event: Inheritance) -> None:
        """A trial went on from the checkpoint of another one."""
        row = (event.trial, event.parent, event.timesteps, json.dumps(event.before), json.dumps(event.after))
        with self._open() as file:
            file.execute("INSERT OR REPLACE INTO lineage VALUES (?, ?, ?, ?, ?)", row)

    def end(self, trial: str, status: str, error: str | None = None) -> tuple[int, float | None, int]:
        """A trial has ended: its number, its score and its timesteps."""
        with self._open() as file:
            file.execute("UPDATE trials SET status = ?, error = ? WHERE id = ?", (status, error, trial))
            row = file.execute("SELECT number, score, timesteps FROM trials WHERE id = ?", (trial,)).fetchone()
        return tuple(row)

    def trials(self) -> list[Trial]:
        """All trials: finished ones first, and best first."""
        with self._open() as file:
            rows = file.execute("SELECT * FROM trials").fetchall()
            evaluations = file.execute("SELECT * FROM evaluations WHERE final = 0 ORDER BY timesteps, seed").fetchall()
        found = {row["id"]: Trial(**{**dict(row), "settings": json.loads(row["settings"])}) for row in rows}
        for row in evaluations:
            curve = found[row["trial"]].curve
            if not curve or curve[-1][0] != row["timesteps"]:
                curve.append((row["timesteps"], []))
            curve[-1][1].append(math.nan if row["mean_return"] is None else row["mean_return"])
        return sorted(found.values(), key=_rank)

    def lineage(self) -> list[Inheritance]:
        """Which trial took the place of which, in order of timesteps."""
        with self._open() as file:
            rows = file.execute("SELECT * FROM lineage ORDER BY timesteps, trial").fetchall()
        plain = [dict(row) for row in rows]
        return [Inheritance(**{**row, **{key: json.loads(row[key]) for key in ("before", "after")}}) for row in plain]

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=30)) as file, file:
            file.row_factory = sqlite3.Row
            file.executescript(SCHEMA)
            yield file


def _rank(trial: Trial) -> tuple[bool, float, int]:
    score = -math.inf if trial.score is None else trial.score
    return trial.status != FINISHED, -score, trial.number
