"""Create, find and name runs in the file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone

RUNNING, FINISHED, STOPPED_EARLY, INTERRUPTED = "running", "finished", "stopped early", "interrupted"


@dataclass(frozen=True)
class About:
    """The description of a run.

    Attributes:
        algorithm: The class name.
        env: The environment's id.
        env_name: Its short name, for the run's name.
        seed: The model's seed; None if it has none.
        total_timesteps: ``num_timesteps`` at which training ends.
        config: Policy, settings, environments and callbacks, as JSON.
        versions: Versions by package, as JSON.
    """

    algorithm: str
    env: str
    env_name: str
    seed: int | None
    total_timesteps: int
    config: str
    versions: str


@dataclass(frozen=True)
class Run:
    """The identity of a run.

    Attributes:
        id: Its number in the file.
        name: Its name.
        started: Its start time, which distinguishes it from a run with the same name in another file.
    """

    id: int
    name: str
    started: str


@dataclass
class Past:
    """The history of a run; empty if it is new.

    Attributes:
        episodes: Number of its last episode.
        seconds: Training time up to that episode.
        returns: Its latest returns, oldest first.
        losses: The losses known at that episode.
    """

    episodes: int = 0
    seconds: float = 0.0
    returns: list[float] = field(default_factory=list)
    losses: dict[str, float] = field(default_factory=dict)


def open_run(
    known: Run | None, wanted: str | None, about: About, timestep: int, window: int
) -> Callable[[sqlite3.Connection], tuple[Run, Past]]:
    """Continue a run, or create one.

    Training from timestep 0 is a new run. Otherwise it continues the known run, else the one with the wanted name, else
    it is a new run. Episodes after the timestep are deleted: they come from training that was resumed from an earlier
    checkpoint.
    """

    def work(connection: sqlite3.Connection) -> tuple[Run, Past]:
        run = _find(connection, known, wanted, about) if timestep > 0 else None
        if run is None:
            return _begin(connection, _free_name(connection, wanted, about), about), Past()
        connection.execute("DELETE FROM episodes WHERE run = ? AND timestep > ?", (run.id, timestep))
        connection.execute(
            "UPDATE runs SET status = ?, ended = NULL, total_timesteps = ? WHERE id = ?",
            (RUNNING, about.total_timesteps, run.id),
        )
        return run, _past(connection, run, window)

    return work


def now() -> str:
    """The current time, as stored."""
    return datetime.now(timezone.utc).isoformat()


def _find(connection: sqlite3.Connection, known: Run | None, wanted: str | None, about: About) -> Run | None:
    if known is not None:
        query = "SELECT id, name, started FROM runs WHERE id = ? AND name = ? AND started = ?"
        row = connection.execute(query, (known.id, known.name, known.started)).fetchone()
        if row is not None:
            return Run(*row)
    if wanted is None:
        return None
    row = connection.execute("SELECT id, name, started, algorithm, env FROM runs WHERE name = ?", (wanted,)).fetchone()
    if row is not None and row[3:] != (about.algorithm, about.env):
        raise ValueError(
            f"run {wanted!r} is {row[3]} on {row[4]}, not {about.algorithm} on {about.env}: pass another run="
        )
    return None if row is None else Run(*row[:3])


def _free_name(connection: sqlite3.Connection, wanted: str | None, about: About) -> str:
    """The wanted name, or a generated one with the next number."""
    if wanted is None:
        stem = f"{about.algorithm}_{about.env_name}_"
        names = connection.execute("SELECT substr(name, ?) FROM runs WHERE substr(name, 1, ?) = ?", (
            len(stem) + 1, len(stem), stem,
        ))  # fmt: skip
        return stem + str(1 + max((int(number) for (number,) in names if number.isdecimal()), default=0))
    if connection.execute("SELECT 1 FROM runs WHERE name = ?", (wanted,)).fetchone() is not None:
        raise ValueError(
            f"run {wanted!r} already exists: pass another run=, or none; to continue it, call the trained model's "
            "learn(..., reset_num_timesteps=False)"
        )
    return wanted


def _begin(connection: sqlite3.Connection, name: str, about: About) -> Run:
    columns = "name, algorithm, env, seed, total_timesteps, config, versions, started, status"
    started = now()
    values = (name, about.algorithm, about.env, about.seed, about.total_timesteps, about.config, about.versions)
    marks = ", ".join("?" * 9)
    cursor = connection.execute(f"INSERT INTO runs ({columns}) VALUES ({marks})", (*values, started, RUNNING))
    assert cursor.lastrowid is not None
    return Run(cursor.lastrowid, name, started)


def _past(connection: sqlite3.Connection, run: Run, window: int) -> Past:
    query = "SELECT number, seconds, return, losses FROM episodes WHERE run = ? ORDER BY number DESC LIMIT ?"
    rows = connection.execute(query, (run.id, window)).fetchall()
    if not rows:
        return Past()
    returns = [float("nan") if row[2] is None else row[2] for row in reversed(rows)]
    return Past(rows[0][0], rows[0][1], returns, json.loads(rows[0][3]))
