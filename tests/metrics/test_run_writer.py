"""A file that cannot be written while training goes on."""

import sqlite3
import warnings
from contextlib import closing

import pytest

from tests.metrics.short_episodes import Do, ppo, recorded
from tests.metrics.test_several_processes import python
from velora_sb3.callbacks import RecordMetrics
from velora_sb3.metrics import load_metrics, load_runs, run_writer


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setattr(run_writer, "BATCH_S", 0.0)
    monkeypatch.setattr(run_writer, "RETRY_AFTER_S", 0.0)
    monkeypatch.setattr(run_writer, "WAIT_S", 0.01)
    monkeypatch.setattr(run_writer, "LAST_WAIT_S", 0.5)
    return tmp_path / "m.db"


def locked(path):
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    return connection


def test_a_lock_that_goes_away_costs_a_warning_and_no_episode(path):
    held = []
    with pytest.warns(RuntimeWarning, match="cannot write to .*m.db: database is locked. Training continues") as told:
        model, _ = recorded(128, path, Do(20, lambda: held.append(locked(path))), Do(90, lambda: held.pop().close()))
    assert len(told) == 1
    assert model.num_timesteps == 128
    rows = load_metrics(path)
    assert rows["episode"].tolist() == list(range(1, len(rows) + 1))
    assert rows["timesteps"].iloc[-1] > 120
    assert load_runs(path)["status"].tolist() == ["finished"]


def test_a_lock_that_stays_is_told_once_and_at_the_end(path):
    held = []
    with pytest.warns(RuntimeWarning) as told:
        model, callback = recorded(64, path, Do(20, lambda: held.append(locked(path))))
    held.pop().close()
    assert [str(warning.message).split(" to ")[0].split(",")[0] for warning in told] == [
        "RecordMetrics cannot write",
        f"RecordMetrics lost the last {callback.episodes.finished - len(load_metrics(path))} episodes",
    ]
    assert model.num_timesteps == 64
    assert load_runs(path)["status"].tolist() == ["running"]


def test_a_file_that_is_deleted_is_not_made_again(path):
    with pytest.warns(RuntimeWarning, match="unable to open database file"):
        recorded(64, path, Do(20, path.unlink))
    assert not path.exists()


def test_after_a_failure_it_is_left_in_peace_for_a_while(path, monkeypatch):
    monkeypatch.setattr(run_writer, "RETRY_AFTER_S", 1e9)
    monkeypatch.setattr(run_writer, "BATCH_EPISODES", 1)
    attempts = []
    write = run_writer.RunWriter.write
    monkeypatch.setattr(run_writer.RunWriter, "write", lambda self: (attempts.append(1), write(self)))
    held = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        recorded(64, path, Do(1, lambda: held.append(locked(path))), Do(64, lambda: held.pop().close()))
    assert len(attempts) == 1
    assert len(load_metrics(path)) > 10  # all of them at the end


FULL_DISK = """
import resource, sys, warnings
from pathlib import Path
from tests.metrics.short_episodes import Do, ppo, recorded
from velora_sb3.metrics import run_writer
run_writer.BATCH_S = run_writer.RETRY_AFTER_S = 0.0
path = Path(sys.argv[1])
# No file may grow from now on: what a full disk looks like.
full = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, resource.RLIM_INFINITY))
space = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    model, callback = recorded(320, path, Do(150, full), *([Do(250, space)] if sys.argv[2] == "later" else []))
space()
print(len(told), model.num_timesteps, callback.episodes.finished)
print(*(warning.message for warning in told), sep="\\n")
"""


@pytest.mark.parametrize("space", ["later", "never"])
def test_a_full_disk(path, space):
    pytest.importorskip("resource")
    result = python(FULL_DISK, path, space)
    assert result.stderr == ""
    numbers, *messages = result.stdout.splitlines()
    n_warnings, timesteps, episodes = map(int, numbers.split())
    assert timesteps == 320
    assert "Training continues" in messages[0]
    rows = load_metrics(path)
    assert rows["timesteps"].max() > 140
    if space == "later":
        assert (n_warnings, len(rows)) == (1, episodes)
    else:
        assert f"the last {episodes - len(rows)} episodes" in messages[1]
        assert n_warnings == 2


def test_a_file_that_cannot_be_written_at_the_start(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="RecordMetrics cannot write to .*folder: unable to open"):
        recorded(64, tmp_path / "folder")
    monkeypatch.setattr("velora_sb3.callbacks.record_metrics.LAST_WAIT_S", 0.1)
    recorded(64, tmp_path / "m.db")
    with closing(locked(tmp_path / "m.db")), pytest.raises(OSError, match="database is locked"):
        recorded(64, tmp_path / "m.db")


def test_an_error_at_the_start_leaves_nothing_to_end(tmp_path):
    (tmp_path / "text").write_text("not a database, but a text of some length")
    callback = RecordMetrics(tmp_path / "text")
    with pytest.raises(ValueError, match="is not an SQLite database"), callback:
        ppo().learn(64, callback=callback)
    assert callback.run_name is callback.run_id is None
    assert (tmp_path / "text").read_text() == "not a database, but a text of some length"
