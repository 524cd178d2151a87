"""Several processes at one file, and processes that are killed."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.metrics.short_episodes import recorded
from velora_sb3.metrics import load_metrics, load_runs


def start(program, *arguments):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def python(program, *arguments):
    process = start(program, *arguments)
    out, err = process.communicate(timeout=300)
    return subprocess.CompletedProcess(program, process.returncode, out, err)


# Trains, and prints every episode before anybody else has heard of it.
PROGRAM = """
import sys
from stable_baselines3.common.vec_env import DummyVecEnv
from tests.metrics.short_episodes import ShortEpisodes, ppo, recorded
from velora_sb3.metrics import run_writer
path, timesteps, run_writer.BATCH_EPISODES, run_writer.BATCH_S = sys.argv[1], *map(int, sys.argv[2:])
env = DummyVecEnv([lambda: ShortEpisodes(lambda *episode: print(*episode, flush=True))])
recorded(timesteps, path, model=ppo(env))
"""


def episodes_in(text):
    """What the program printed; a line that a kill cut off is left out."""
    lines = text[: text.rfind("\n") + 1].splitlines()
    return [(float(line.split()[0]), int(line.split()[1])) for line in lines]


def test_four_processes_at_once_lose_nothing(tmp_path):
    path = tmp_path / "m.db"
    processes = [start(PROGRAM, path, 192, 5, 0) for _ in range(4)]  # a write after each episode
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [err for _, err in outputs] == [""] * 4
    rows, runs = load_metrics(path), load_runs(path)
    assert sorted(runs["run"]) == [f"PPO_ShortEpisodes_{number}" for number in (1, 2, 3, 4)]
    assert runs["status"].tolist() == ["finished"] * 4
    by_process = sorted(episodes_in(out) for out, _ in outputs)
    by_run = sorted(list(zip(run["return"], run["length"], strict=True)) for _, run in rows.groupby("run_id"))
    assert by_run == by_process
    assert len(rows) > 200


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_a_killed_run_keeps_all_but_the_last_batch(tmp_path):
    path = tmp_path / "m.db"
    process = start(PROGRAM, path, 10_000_000, 50, 1_000_000)
    printed = [process.stdout.readline() for _ in range(333)]
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate(timeout=60)
    own = episodes_in("".join(printed) + rest)
    rows = load_metrics(path)
    kept = list(zip(rows["return"], rows["length"], strict=True))
    assert kept == own[: len(kept)]
    assert len(own) - 51 <= len(kept)  # one more had been printed than the callback had seen
    assert load_runs(path)["status"].tolist() == ["running"]

    recorded(64, path)  # the file goes on being used
    assert load_runs(path)["status"].tolist() == ["running", "finished"]
    assert len(load_metrics(path, 1)) == len(rows)


KILLED_IN_MID_WRITE = """
import os, signal, sys
from pathlib import Path
from velora_sb3.metrics.database import transact
def work(connection):
    connection.execute("INSERT INTO episodes VALUES (1, 100000, 0, 1, 0, 0, 1, 0, 0, '{}')")
    os.kill(os.getpid(), signal.SIGKILL)
def committed(connection):
    connection.execute("UPDATE runs SET seed = 77")
    connection.execute("COMMIT")
    connection.execute("BEGIN")
    work(connection)
transact(Path(sys.argv[1]), committed, 1.0)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_a_log_that_was_left_behind(tmp_path):
    path = tmp_path / "m.db"
    recorded(64, path)
    before = load_metrics(path)
    assert python(KILLED_IN_MID_WRITE, path).returncode == -signal.SIGKILL
    log = path.with_name("m.db-wal")
    assert log.stat().st_size > 0  # the committed row is only in there
    rows = load_metrics(path)
    assert rows["return"].tolist() == before["return"].tolist()
    assert set(rows["seed"]) == {77}
    assert not log.exists()
    recorded(64, path)
    assert load_runs(path)["status"].tolist() == ["finished", "finished"]


@pytest.mark.slow
def test_a_reader_does_not_hold_up_a_writer(tmp_path):
    path = tmp_path / "m.db"
    process = start(PROGRAM, path, 256, 5, 0)
    counts = []
    while process.poll() is None:
        if path.exists() and path.stat().st_size:
            counts.append(len(load_metrics(path)))
        time.sleep(0.01)
    out, err = process.communicate()
    assert err == ""
    assert counts == sorted(counts)
    assert len(set(counts)) > 3
    assert len(load_metrics(path)) == len(episodes_in(out))
