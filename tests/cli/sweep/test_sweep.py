"""``velora-sb3 sweep`` from end to end."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("ray")
from stable_baselines3 import PPO

from tests.checkpoints.runs import assert_equal
from velora_sb3.cli.command_line import build_parser
from velora_sb3.cli.commands.sweep import LOOPBACK, resume_command
from velora_sb3.tune.results import Results

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own warnings
ROOT = Path(__file__).parents[3]
FILE = """
algo: ppo
env: CartPole-v1
policy: MlpPolicy
n_envs: 1
steps: 600
hyperparams: {n_steps: 50, batch_size: 50, n_epochs: 2}
eval_freq: 100
search:
  learning_rate: {loguniform: [1e-4, 1e-2]}
  gamma: {choice: [0.95, 0.99]}
"""
BROKEN = """
import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv

class Broken(CartPoleEnv):
    def step(self, action):
        raise OSError("the motor is off")

gymnasium.register("Broken-v0", Broken)
"""


@pytest.fixture
def sweep(run, tmp_path, monkeypatch):
    """``sweep("trials: 2")``: exit code, stdout, stderr."""
    for name in ("RAY_CHDIR_TO_TRIAL_DIR", "RAY_AIR_NEW_OUTPUT", "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", LOOPBACK):
        monkeypatch.setenv(name, "0")  # restored afterwards

    def call(more, *options):
        (tmp_path / "s.yaml").write_text(FILE + more)
        return run("sweep", "s.yaml", "--cpus", 2, *options)

    return call


def test_a_sweep_and_what_it_leaves(sweep, run, tmp_path):
    code, out, err = sweep("trials: 4\nseeds: 2\nscheduler: asha\nsearcher: optuna\n")
    assert (code, err) == (0, ""), out
    assert "ppo on CartPole-v1: 4 trials of 2 seeds, 600 steps each -> sweeps/s" in out
    assert "done: 4 trials, " in out
    directory = tmp_path / "sweeps" / "s"
    trials = Results(directory / "sweep.db").trials()
    assert {trial.status for trial in trials} <= {"finished", "stopped early"}
    best = trials[0]
    assert best.status == "finished" and best.timesteps == 600
    assert [len(returns) for _, returns in best.curve] == [2] * 6

    config = json.loads((directory / "best.json").read_text())
    assert config["hyperparams"]["learning_rate"] == best.settings["learning_rate"]
    assert run("train", "--config", directory / "best.json", "--run-dir", "best", "--no-video")[0] == 0
    swept = PPO.load(directory / "trials" / best.id / "seed-0" / "model.zip", device="cpu")
    assert_equal(swept.get_parameters(), PPO.load(tmp_path / "best" / "model.zip", device="cpu").get_parameters())
    result = json.loads((directory / "trials" / best.id / "seed-0" / "result.json").read_text())
    assert result["returns"] == json.loads((tmp_path / "best" / "result.json").read_text())["returns"]

    for name in ("learning_curves.png", "parallel_coordinates.png"):
        assert (directory / name).stat().st_size > 5_000
    assert run("report", directory)[0] == 0
    page = (directory / "report.html").read_text()
    assert "Sweep of ppo on CartPole-v1" in page and page.count("<svg") == 2

    code, out, err = sweep("trials: 5\nseeds: 2\nscheduler: asha\nsearcher: optuna\n")
    assert code == 2
    assert "the sweep in sweeps/s has other settings: trials is 4 there, got 5. Restore them, or" in err


def test_the_command_that_resumes():
    argv = ["sweep", "my sweep.yaml", "--sweep-dir", "my sweep", "--cpus", "2"]
    assert resume_command(build_parser().parse_args(argv)) == (
        "velora-sb3 sweep 'my sweep.yaml' --sweep-dir 'my sweep' --cpus 2"
    )


def test_ctrl_c_saves_and_the_same_command_resumes(sweep, tmp_path):
    more = "trials: 3\nscheduler: pbt\n"
    (tmp_path / "s.yaml").write_text(FILE + more)
    argv = [sys.executable, "-m", "velora_sb3", "sweep", "s.yaml", "--cpus", "2"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    process = subprocess.Popen(argv, cwd=tmp_path, env=environment, text=True, stdout=-1, stderr=-1)
    try:
        database = tmp_path / "sweeps" / "s" / "sweep.db"
        deadline = time.monotonic() + 100
        while time.monotonic() < deadline and not evaluations(database):
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=100)
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGTERM, err
    assert "interrupted: " in out and "resume it:   velora-sb3 sweep s.yaml --cpus 2\n" in out
    assert "Traceback" not in err
    code, out, err = sweep(more)
    assert (code, err) == (0, "")
    assert "done: 3 trials, 3 finished" in out
    results = Results(database)
    assert [trial.timesteps for trial in results.trials()] == [600] * 3
    ids = {trial.id for trial in results.trials()}
    for one in results.lineage():
        assert {one.trial, one.parent} <= ids and one.before != one.after
        assert 0.95 <= one.after["gamma"] <= 0.99
    code, out, _ = sweep(more)
    assert code == 0 and "done: 3 trials, 3 finished" in out


def evaluations(database):
    try:
        return sqlite3.connect(database).execute("SELECT COUNT(*) FROM evaluations").fetchone()[0]
    except sqlite3.OperationalError:
        return 0


def test_mistakes_are_one_line_before_anything_starts(sweep, run, tmp_path):
    assert sweep("trials: 2\nscheduler: best\n")[0] == 2
    code, _, err = run("sweep", "nowhere.yaml")
    assert code == 2 and err == "velora-sb3: error: no such sweep file: nowhere.yaml\n"
    code, _, err = run("sweep", "s.yaml", "--address", "auto", "--cpus", 2)
    assert code == 2 and "omit one of them" in err
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{free.getsockname()[1]}"
        (tmp_path / "s.yaml").write_text(FILE + "trials: 2\n")
        code, _, err = run("sweep", "s.yaml", "--address", address)
    assert code == 2 and f"--address {address}: no Ray cluster there" in err and err.count("\n") == 1
    assert not (tmp_path / "sweeps").exists()


def test_a_sweep_that_ends_before_its_first_trial_has_not_failed(sweep, monkeypatch):
    monkeypatch.setattr("velora_sb3.tune.engine.run_sweep", lambda *_: None)
    assert sweep("trials: 2\n")[0] == 0


def test_a_running_cluster(sweep, run, tmp_path, monkeypatch):
    """``--address auto`` joins it and leaves it running; a time limit ends a sweep; exit code 1 if all trials fail."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    try:
        (tmp_path / "s.yaml").write_text(FILE.replace("steps: 600", "steps: 1000000") + "trials: 2\ntime_limit: 5s\n")
        code, out, err = run("sweep", "s.yaml", "--address", "auto")
        assert (code, err) == (0, "") and "time limit reached: " in out and " 0 finished" in out
        broken = FILE.replace("CartPole-v1", "Broken-v0") + "trials: 1\ngym_packages: [broken_env]\n"
        (tmp_path / "broken.yaml").write_text(broken)
        (tmp_path / "broken_env.py").write_text(BROKEN)
        code, out, err = run("sweep", "broken.yaml", "--address", "auto")
        assert (code, err) == (1, "") and "failed: 1 trials, 0 finished, 1 failed" in out and "the motor is off" in out
        ray.init(address=cluster.address, log_to_driver=False)
        assert ray.cluster_resources()["CPU"] == 1
    finally:
        ray.shutdown()
        cluster.shutdown()
