import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.tracking.records import read, recording, without_home
from tests.tracking.servers import answering, use_server
from velora_sb3.tracking import tracker as tracker_module
from velora_sb3.tracking.tracker import Tracker
from velora_sb3.tracking.worker_process import UNFINISHED

pytest.importorskip("comet_ml")
pytest.importorskip("wandb")

KINDS = ("comet", "wandb")
SETTINGS = {
    "comet": {"project_name": "p", "experiment_name": "a name", "experiment_key": "k" * 32},
    "wandb": {"project": "p", "name": "a name", "run_id": "abc12345", "continues": False},
}
CONFIG = {"model": {"lr": 0.5, "layers": [64, 64]}, "seed": None}


@pytest.fixture
def directory(tmp_path):
    with recording(tmp_path):
        yield tmp_path
    for left in UNFINISHED:
        if left.poll() is None:  # still trying to send; its group is its own
            os.killpg(left.pid, signal.SIGKILL)
            left.wait()
    UNFINISHED.clear()


def start(*kinds, online=False):
    """One run of each kind, side by side: starting them takes time."""
    common = {"tags": ["one", "two"], "config": CONFIG}
    return {kind: Tracker(kind, {**SETTINGS[kind], **common}, online=online) for kind in kinds}


def log(runs, value, step):
    for run in runs.values():
        run.call("log", {"a": value}, step, None)


def test_files_stay_in_the_directory_in_which_the_run_began(directory, monkeypatch):
    (directory / "start").mkdir()
    (directory / "later").mkdir()
    for name in ("WANDB_DIR", "COMET_OFFLINE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(directory / "start")
    runs = start(*KINDS)
    monkeypatch.chdir(directory / "later")  # before the processes have started
    log(runs, 1.0, 1)
    close(runs)
    for run in runs.values():
        assert run.location.startswith(str(directory / "start"))
    assert list((directory / "later").iterdir()) == []


@pytest.mark.parametrize("home", [None, "/nowhere"])
def test_there_may_be_no_home_directory(directory, monkeypatch, home):
    """As in a container; SDKs keep caches there, and W&B copies of what it sends."""
    without_home(monkeypatch, directory)
    if home is not None:
        monkeypatch.setenv("HOME", home)
    for name in ("WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "COMET_OFFLINE_DIRECTORY"):
        monkeypatch.delenv(name)
    monkeypatch.chdir(directory)
    (directory / "saved").mkdir()
    (directory / "saved" / "model.zip").write_bytes(b"model")
    runs = start(*KINDS)
    log(runs, 1.0, 5)
    for run in runs.values():
        run.call("checkpoint", str(directory / "saved"), 5)
    close(runs)
    for kind, run in runs.items():
        assert list(run.problems) == []
        (record,) = read(kind, directory / ".cometml-runs" if kind == "comet" else directory)
        assert record.metric("a") == [(5, 1.0)]
        assert [name for _, name, _ in record.models] == ["saved"] or kind == "wandb"


def close(runs):
    """All at once, for the same reason; seconds that it took."""
    started = time.monotonic()
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda run: run.close(), runs.values()))
    return time.monotonic() - started


def until(condition, limit_s=100):
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < limit_s
        time.sleep(0.02)


def test_everything_reaches_the_disk_in_order_but_what_cannot(directory):
    runs = start(*KINDS)
    for number in range(1500):  # more than a pipe holds
        log(runs, number, number * 10)
        if number % 500 == 0:
            for run in runs.values():
                run.call("checkpoint", str(directory / "nowhere"), number)
    close(runs)
    for kind, run in runs.items():
        (record,) = read(kind, directory)
        (problem,) = run.problems  # told once
        assert problem.startswith("checkpoint: ") and "nowhere" in problem
        assert record.metric("a") == [(number * 10, number) for number in range(1500)]
        assert (record.name, record.project, record.tags) == ("a name", "p", {"one", "two"})
        assert record.config == {"model/lr": 0.5, "model/layers": "[64, 64]", "seed": None}
        assert f"{'comet upload' if kind == 'comet' else 'wandb sync'} {directory}" in run.location


def test_a_server_gets_the_run(directory, monkeypatch):
    with answering() as server:
        use_server(server.url, monkeypatch)
        runs = start(*KINDS, online=True)
        log(runs, 1.0, 1)
        close(runs)
        paths = [path for path, _ in server.requests]
    assert not any(run.problems or run.went_offline for run in runs.values())
    assert any(path.endswith("/batch/logger/experiment/metric") for path in paths)
    assert any(path.endswith("/file_stream") for path in paths)


def silenced(directory, monkeypatch):
    """Runs whose server falls silent after the first of two rows."""
    with answering() as server:
        use_server(server.url, monkeypatch)
        runs = start(*KINDS, online=True)
        log(runs, 1.0, 1)
        until(lambda: all(run.location for run in runs.values()))
        server.silent.set()
        log(runs, 2.0, 2)
        assert close(runs) < 15
    return server, runs


def test_a_server_that_falls_silent_is_not_waited_for(directory, monkeypatch):
    server, runs = silenced(directory, monkeypatch)
    for run in runs.values():
        (problem,) = run.problems
        assert problem.startswith(server.url)
        assert "does not respond; unsent data is in " + str(directory) in problem


@pytest.mark.slow
def test_what_a_silent_server_did_not_get_is_on_disk(directory, monkeypatch):
    silenced(directory, monkeypatch)
    for kind in KINDS:  # both go on trying for a while
        until(lambda kind=kind: any((2, 2.0) in record.metric("a") for record in read(kind, directory)))


def test_a_server_that_refuses_the_run_is_done_without(directory, monkeypatch):
    with answering(404) as server:
        use_server(server.url, monkeypatch)
        runs = start(*KINDS, online=True)
        log(runs, 1.0, 1)
        close(runs)
    for kind, run in runs.items():
        (problem,) = run.problems
        assert problem.endswith("; recording to disk instead")
        assert run.went_offline
        assert read(kind, directory)[-1].metric("a") == [(1, 1.0)]


def test_a_start_that_takes_too_long_is_given_up(directory, monkeypatch):
    with answering(500) as server:  # W&B tries again for half a minute
        use_server(server.url, monkeypatch)
        monkeypatch.setattr(tracker_module, "CLOSING_START_TIMEOUT_S", 1.0)
        runs = start("wandb", online=True)
        log(runs, 1.0, 1)
        until(lambda: server.requests)
        assert close(runs) < 15
    assert list(runs["wandb"].problems) == ["the run did not start in time; recording to disk instead"]
    assert read("wandb", directory)[-1].metric("a") == [(1, 1.0)]


def test_a_process_that_dies_is_replaced(directory, monkeypatch):
    with answering() as server:
        use_server(server.url, monkeypatch)
        runs = start("wandb", online=True)
        log(runs, 1.0, 1)
        until(lambda: any(path.endswith("/file_stream") for path, _ in server.requests))
        process = runs["wandb"]._process
        os.killpg(process._process.pid, signal.SIGKILL)
        until(lambda: process.failure)
        log(runs, 2.0, 2)
        close(runs)
    assert list(runs["wandb"].problems) == ["the worker process died; recording to disk instead"]
    assert any(record.metric("a") == [(2, 2.0)] for record in read("wandb", directory))


def test_if_nothing_can_be_recorded_it_says_so(directory, monkeypatch):
    monkeypatch.setenv("WANDB_CONSOLE", "nonsense")  # W&B refuses its settings
    runs = start("wandb")
    log(runs, 1.0, 1)
    close(runs)
    (problem,) = runs["wandb"].problems
    assert problem.endswith("; recording has stopped")
    log(runs, 1.0, 2)


def test_if_no_process_can_be_started_it_says_so(directory, monkeypatch):
    monkeypatch.setattr("sys.executable", str(directory / "no-python"))
    runs = start("comet")
    close(runs)
    (problem,) = runs["comet"].problems
    assert problem.startswith("nothing is being recorded: FileNotFoundError")


def test_what_is_too_much_is_counted_and_training_does_not_wait(directory, monkeypatch):
    monkeypatch.setattr(tracker_module, "MAX_QUEUED", 10)
    runs = start("wandb")
    started = time.monotonic()
    for number in range(30):  # long before the run has started
        log(runs, number, number)
    assert time.monotonic() - started < 0.2
    close(runs)
    assert list(runs["wandb"].problems) == [
        "20 records were dropped: they came faster than they could be recorded",
    ]
    assert read("wandb", directory)[0].metric("a") == [(number, number) for number in range(10)]
