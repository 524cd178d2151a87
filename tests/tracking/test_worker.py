import os
import time
import zipfile

import pytest

from tests.tracking.servers import answering, hanging, refusing
from velora_sb3.tracking import worker_process
from velora_sb3.tracking.tracker import Tracker
from velora_sb3.tracking.worker.__main__ import responds


@pytest.mark.parametrize("status", [200, 401, 404, 500])
def test_an_error_is_a_response(status):
    with answering(status) as server:
        assert responds(server.url)


def test_a_server_that_is_not_there_does_not_respond():
    with refusing() as url:
        assert not responds(url)


def test_a_server_that_keeps_silent_does_not_respond():
    with hanging() as url:
        started = time.monotonic()
        assert not responds(url, timeout_s=0.2)
        assert time.monotonic() - started < 2


SPY = """
import sys

import {kind}_run


class Run({kind}_run.Run):
    def __init__(self, online):
        self.calls = []

    def log(self, row, step, episode):
        self.calls.append(step)

    def finish(self, success):
        self.calls.append(success)

    def substitute_directory(self):
        return None

    def location(self):
        heavy = [name for name in ("torch", "stable_baselines3", "velora_sb3") if name in sys.modules]
        return f"{{self.calls}} {{heavy}}"
"""


def spied(kind, directory, monkeypatch):
    """What a worker has done and imported at its end."""
    (directory / "spy_run.py").write_text(SPY.format(kind=kind))
    monkeypatch.syspath_prepend(directory)
    run = Tracker("spy", {}, online=False)
    run.call("log", {}, 7, None)
    run.close()
    assert not run.problems
    return run.location


@pytest.mark.parametrize(("kind", "package"), [("comet", "comet_ml"), ("wandb", "wandb")])
def test_the_worker_imports_neither_torch_nor_sb3(tmp_path, monkeypatch, kind, package):
    pytest.importorskip(package)
    assert spied(kind, tmp_path, monkeypatch) == "[7, True] []"


def test_the_worker_runs_from_a_zip_file_and_in_another_directory(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    with zipfile.ZipFile(tmp_path / "package.zip", "w") as archive:
        for path in worker_process.WORKER.glob("*.py"):
            archive.write(path, f"velora_sb3/tracking/worker/{path.name}")
    monkeypatch.setattr(worker_process, "WORKER", tmp_path / "package.zip" / "velora_sb3" / "tracking" / "worker")
    monkeypatch.chdir(os.sep)
    assert spied("wandb", tmp_path, monkeypatch) == "[7, True] []"
