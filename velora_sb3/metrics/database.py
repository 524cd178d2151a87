"""The SQLite file: its tables, and transactions that are safe with several processes."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

SMALLEST = 512  # bytes; SQLite treats a smaller file as empty and overwrites it
APPLICATION_ID = 0x56454C4F  # "VELO", in the file's header, marks our files
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
    # SQLite stores NaN as NULL, so return is nullable.
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
    """Do some work in a transaction on a new connection.

    Nothing stays open between transactions, so a process that is forked or killed there leaves a consistent file.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            return _attempt(path, work, max(deadline - time.monotonic(), 0.0), create)
        except sqlite3.OperationalError as error:
            # SQLite waits for locks, but not while another process switches to WAL or recovers it.
            if "locked" not in str(error) or time.monotonic() >= deadline:
                raise
        except sqlite3.DatabaseError as error:
            if "not a database" in str(error):
                raise ValueError(
                    f"{path} is not an SQLite database: pass a new path, or a file written by RecordMetrics"
                ) from error
            raise
        time.sleep(PAUSE_S)


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Read a file in one consistent snapshot."""
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        with closing(_open_to_read(path)) as connection:
            connection.execute("BEGIN")
            check(connection, path)
            yield connection
    except sqlite3.Error as error:
        raise ValueError(f"cannot read {path}: {error}") from error


def check(connection: sqlite3.Connection, path: Path) -> None:
    """Raise ``ValueError`` if ``RecordMetrics`` did not write the file, or in another schema."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if application != APPLICATION_ID:
        raise ValueError(f"{path} was not written by RecordMetrics: pass one that was, or a new path")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != SCHEMA_VERSION:
        raise ValueError(
            f"{path} has schema version {version}, this velora-sb3 supports version {SCHEMA_VERSION}: use "
            "the velora-sb3 that wrote it, or another file"
        )


def _attempt(path: Path, work: Callable[[sqlite3.Connection], T], timeout: float, create: bool) -> T:
    if create and path.is_file() and 0 < path.stat().st_size < SMALLEST:
        raise sqlite3.DatabaseError("file is not a database")
    uri = f"{path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}"
    with closing(sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None)) as connection:
        if create:
            _create(connection, path)
        # With WAL this survives a killed process; a power cut may lose the last transactions.
        connection.execute("PRAGMA synchronous = NORMAL")
        with connection:  # commits or rolls back
            connection.execute("BEGIN IMMEDIATE")
            return work(connection)


def _create(connection: sqlite3.Connection, path: Path) -> None:
    """Create the tables in an empty file; check any other, and leave a foreign file untouched."""
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables == 0:
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:  # still
                for statement in TABLES:
                    connection.execute(statement)
    check(connection, path)
    connection.execute("PRAGMA journal_mode = WAL")  # has no effect where the file system does not support it


def _open_to_read(path: Path) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode=rw"  # the last reader removes the log, which mode=ro cannot
    connection = sqlite3.connect(uri, uri=True, timeout=10.0, isolation_level=None)
    try:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.OperationalError:
        connection.close()
        # In a read-only directory SQLite cannot share the log; without a log it does not need to.
        if path.with_name(f"{path.name}-wal").exists():
            raise
        uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        return sqlite3.connect(uri, uri=True, isolation_level=None)
    return connection
