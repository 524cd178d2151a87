import os
import sqlite3
import tempfile
import threading
from contextlib import closing
from pathlib import Path

import pytest

from velora_sb3.metrics import load_metrics, load_runs
from velora_sb3.metrics.database import APPLICATION_ID, transact


def nothing(connection):
    pass


def add_run(number):
    values = (number, f"run {number}", "PPO", "E", 0, 1, "{}", "{}", "2026-01-01T00:00:00.5+00:00", None, "running")
    marks = ", ".join("?" * len(values))
    return lambda connection: connection.execute(f"INSERT INTO runs VALUES ({marks})", values).lastrowid


@pytest.fixture
def path(tmp_path):
    return tmp_path / "m.db"


def test_the_file_says_what_it_is(path):
    transact(path, nothing, 1.0, create=True)
    with closing(sqlite3.connect(path)) as connection:
        asked = ("PRAGMA user_version", "PRAGMA application_id", "PRAGMA journal_mode")
        assert [connection.execute(question).fetchone()[0] for question in asked] == [1, APPLICATION_ID, "wal"]
        indexes = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}
        assert "runs_by_task" in indexes
        plan = connection.execute("EXPLAIN QUERY PLAN SELECT * FROM episodes WHERE run = 1 ORDER BY number").fetchall()
    assert [step[3] for step in plan] == ["SEARCH episodes USING PRIMARY KEY (run=?)"]  # no sorting


def test_it_returns_what_the_work_does(path):
    assert transact(path, add_run(7), 1.0, create=True) == 7
    assert load_runs(path)["run"].tolist() == ["run 7"]


def test_work_that_fails_leaves_no_trace(path):
    def work(connection):
        add_run(2)(connection)
        raise KeyError("broken")

    transact(path, add_run(1), 1.0, create=True)
    with pytest.raises(KeyError, match="broken"):
        transact(path, work, 1.0)
    assert load_runs(path)["run_id"].tolist() == [1]


def test_many_threads_make_one_file(path):
    def work(number):
        transact(path, add_run(number), 60.0, create=True)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 17)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert load_runs(path)["run_id"].tolist() == list(range(1, 17))


def test_it_waits_for_others(path):
    transact(path, nothing, 1.0, create=True)
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.3, holder.close)
    release.start()
    transact(path, add_run(1), 30.0)
    release.join()
    assert load_runs(path)["run_id"].tolist() == [1]


def test_but_not_for_ever(path):
    transact(path, nothing, 1.0, create=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            transact(path, add_run(1), 0.2)


def a_text(path):
    path.write_text("a text, and longer than the header of a database would be, which has a hundred bytes. " * 2)


def a_short_text(path):
    path.write_text("x")


def another_database(path):
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE runs (mine)")


def another_version(path):
    transact(path, nothing, 1.0, create=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 2")


@pytest.mark.parametrize(
    ("make", "read", "written"),
    [
        (a_text, "cannot read .*m.db: file is not a database", "m.db is not an SQLite database"),
        (a_short_text, "m.db was not written by RecordMetrics", "m.db is not an SQLite database"),
        (another_database, "m.db was not written by RecordMetrics", "m.db was not written by RecordMetrics"),
        (another_version, "has schema version 2, this velora-sb3 supports version 1", "has schema version 2"),
    ],
)
def test_files_that_are_not_ours_are_refused_and_left_alone(make, read, written, path):
    make(path)
    before = path.read_bytes()
    for load in (load_metrics, load_runs):
        with pytest.raises(ValueError, match=read):
            load(path)
    with pytest.raises(ValueError, match=written):
        transact(path, add_run(1), 1.0, create=True)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_no_file(path):
    with pytest.raises(FileNotFoundError, match="no such file: .*m.db"):
        load_metrics(path)
    with pytest.raises(sqlite3.OperationalError):
        transact(path, nothing, 1.0)
    assert not path.exists()


def test_a_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file:"):
        load_metrics(tmp_path)


def test_an_empty_file_is_filled(path):
    path.touch()
    with pytest.raises(ValueError, match="was not written by RecordMetrics"):
        load_metrics(path)
    transact(path, add_run(1), 1.0, create=True)
    assert load_runs(path)["run_id"].tolist() == [1]


def test_a_damaged_file(path):
    transact(path, add_run(1), 1.0, create=True)
    contents = bytearray(path.read_bytes())
    contents[4096:] = b"\xff" * (len(contents) - 4096)  # all but the header's page
    path.write_bytes(contents)
    with pytest.raises(ValueError, match="cannot read .*m.db: "):
        load_metrics(path)


def as_nobody(work):
    """What some work says in a process that may not do everything, as root may."""
    reader, answer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
            said = str(work())
        except BaseException as error:
            said = repr(error)
        os.write(answer, said.encode())
        os._exit(0)
    os.waitpid(child, 0)
    return os.read(reader, 1000).decode()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("with_log", [False, True])
def test_a_folder_where_nothing_can_be_written(with_log):
    with tempfile.TemporaryDirectory() as name:  # pytest's own are closed to others
        path = Path(name, "m.db")
        transact(path, add_run(1), 1.0, create=True)
        if with_log:
            with closing(sqlite3.connect(path)) as writer, writer:
                writer.execute("UPDATE runs SET seed = 2")
                log = path.with_name("m.db-wal").read_bytes()
            path.with_name("m.db-wal").write_bytes(log)
        for file in (*path.parent.iterdir(), path.parent):
            file.chmod(0o555)
        before = sorted(path.parent.iterdir())
        said = as_nobody(lambda: load_runs(path)["seed"].tolist())
        assert sorted(path.parent.iterdir()) == before
        path.parent.chmod(0o755)
    if with_log:  # it cannot be read, and leaving it out would be wrong
        assert said.startswith("ValueError('cannot read ")
    else:
        assert said == "[0]"
