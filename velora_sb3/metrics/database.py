"""The SQLite file: its tables, and the way in and out while other processes do the same."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

SMALLEST = 512  # bytes; SQLite takes a smaller file for an empty one, and writes over it
APPLICATION_ID = 0x56454C4F  # "VELO", in the file's header: tells our file from any other database
SCHEMA_VERSION = 1
TABLES = (
    """
    CREATE TABLE runs (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        algorithm TEXT NOT NULL,
        env TEXT NOT NULL,
        seed INTEGER,
        total_timesteps INTEGER NOT NULL,
        config TEXT NOT NULL,
        versions TEXT NOT NULL,
        started TEXT NOT NULL,
        ended TEXT,
        status TEXT NOT NULL
    )
    """,
    "CREATE INDEX runs_by_task ON runs (algorithm, env)",
    # A return that is not a number is NULL to SQLite, so no NOT NULL there.
    """
    CREATE TABLE episodes (
        run INTEGER NOT NULL REFERENCES runs (id),
        number INTEGER NOT NULL,
        return REAL,
        length INTEGER NOT NULL,
        moving_average REAL,
        moving_deviation REAL,
        timestep INTEGER NOT NULL,
        seconds REAL NOT NULL,
        env_index INTEGER NOT NULL,
        losses TEXT NOT NULL,
        PRIMARY KEY (run, number)
    ) WITHOUT ROWID
    """,
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)
PAUSE_S = 0.02


def transact(path: Path, work: Callable[[sqlite3.Connection], T], timeout: float, *, create: bool = False) -> T:
    """Do some work in a transaction of its own, on a connection of its own.

    Nothing stays open between two transactions: a process may be forked or killed there, and leaves one whole file.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            return _attempt(path, work, max(deadline - time.monotonic(), 0.0), create)
        except sqlite3.OperationalError as error:
            # SQLite waits by itself, but not in every case: two that switch to WAL, or recover it, do not.
            if "locked" not in str(error) or time.monotonic() >= deadline:
                raise
        except sqlite3.DatabaseError as error:
            if "not a database" in str(error):
                raise ValueError(
                    f"{path} is not an SQLite database: name a new file, or one of RecordMetrics"
                ) from error
            raise
        time.sleep(PAUSE_S)


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Read a file of ours, as it stood at one moment."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with closing(_open_to_read(path)) as connection:
            connection.execute("BEGIN")
            check(connection, path)
            yield connection
    except sqlite3.Error as error:
        raise ValueError(f"cannot read {path}: {error}") from error


def check(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse what is not a file of ours."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if application != APPLICATION_ID:
        raise ValueError(f"{path} holds no metrics: name a file that RecordMetrics wrote")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != SCHEMA_VERSION:
        raise ValueError(
            f"the metrics in {path} have schema version {version}, this velora-sb3 knows version {SCHEMA_VERSION}: "
            "use the velora-sb3 that wrote it, or another file"
        )


def _attempt(path: Path, work: Callable[[sqlite3.Connection], T], timeout: float, create: bool) -> T:
    if create and path.is_file() and 0 < path.stat().st_size < SMALLEST:
        raise sqlite3.DatabaseError("file is not a database")
    uri = f"{path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}"
    with closing(sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None)) as connection:
        if create:
            _create(connection, path)
        # With WAL that is safe against a process that dies; against a power cut, but for the last transactions.
        connection.execute("PRAGMA synchronous = NORMAL")
        with connection:  # commits, or rolls back
            connection.execute("BEGIN IMMEDIATE")
            return work(connection)


def _create(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables in an empty file, check any other; a file that is not ours is left as it is."""
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables == 0:
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:  # still
                for statement in TABLES:
                    connection.execute(statement)
    check(connection, path)
    connection.execute("PRAGMA journal_mode = WAL")  # where the file system cannot, the old way stays


def _open_to_read(path: Path) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode=rw"  # the last reader tidies the log away, which mode=ro cannot
    connection = sqlite3.connect(uri, uri=True, timeout=10.0, isolation_level=None)
    try:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.OperationalError:
        connection.close()
        # In a folder where nothing can be written SQLite cannot share the log. Without a log there is no need to.
        if path.with_name(f"{path.name}-wal").exists():
            raise
        uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        return sqlite3.connect(uri, uri=True, isolation_level=None)
    return connection
