"""Callbacks from a YAML file, in RL Zoo's own training program. Runs where rl_zoo3 is installed: ``tox -e zoo``."""

import json
import signal
import subprocess
import sys
import time
from importlib.util import find_spec

import pytest
import yaml

pytestmark = pytest.mark.skipif(find_spec("rl_zoo3") is None, reason="rl_zoo3 is not installed; tox -e zoo has it")

EARLY_STOPPING = "velora_sb3.callbacks.EarlyStopping"
SAVE_CHECKPOINTS = "velora_sb3.callbacks.SaveCheckpoints"


def start(folder, callbacks, **settings):
    run = {"n_timesteps": 100_000, "policy": "MlpPolicy", "n_steps": 32, "batch_size": 32, "n_epochs": 1}
    hyperparameters = {"CartPole-v1": {**run, **settings, "callback": callbacks}}
    (folder / "x.yml").write_text(yaml.safe_dump(hyperparameters))
    command = [sys.executable, "-m", "rl_zoo3.train", "--algo", "ppo", "--env", "CartPole-v1"]
    options = ["--gym-packages", "velora_sb3", "--conf-file", "x.yml", "--device", "cpu", "--eval-freq", "-1"]
    output = (folder / "output.txt").open("w")
    with output:
        return subprocess.Popen([*command, *options], cwd=folder, stdout=output, stderr=subprocess.STDOUT)


def finish(folder, process):
    assert process.wait(300) == 0, (folder / "output.txt").read_text()
    return json.loads((folder / "checkpoints" / "ppo" / "completed.json").read_text())


@pytest.mark.parametrize("stop_first", [True, False])
def test_a_run_stops_early_and_is_saved(tmp_path, stop_first):
    stop = {EARLY_STOPPING: {"target": 5, "patience": 20}}
    save = {SAVE_CHECKPOINTS: {"dirname": "ppo", "frequency": 8}}
    settings = {"n_envs": 2, "normalize": True, "policy": "LiquidPolicy", "policy_kwargs": "dict(units=8)"}
    completed = finish(tmp_path, start(tmp_path, [stop, save] if stop_first else [save, stop], **settings))
    assert completed["early_stopped"]
    assert completed["episodes"] >= 20
    assert completed["best_return"] >= 8  # an episode of CartPole is never shorter, whatever was normalized
    saves = tmp_path / "checkpoints" / "ppo" / "saves"
    assert {"CartPole_8", "CartPole_16", "CartPole_final"} >= {path.name for path in saves.iterdir()}
    files = {path.name for path in (saves / "CartPole_final").iterdir()}
    assert {"metadata.json", "model.zip", "vecnormalize.pkl", "manifest.json"} < files
    config = json.loads((saves.parent / "model_config.json").read_text())
    assert config["policy_kwargs"]["units"] == 8
    assert {"EarlyStopping", "SaveCheckpoints"} <= {entry["name"] for entry in config["callbacks"]}


@pytest.mark.parametrize("save_first", [True, False])
def test_ctrl_c(tmp_path, save_first):
    save = {SAVE_CHECKPOINTS: {"dirname": "ppo", "frequency": 5}}
    other = {EARLY_STOPPING: {"target": 1e9}}  # RL Zoo tells the first callback only that training is over
    process = start(tmp_path, [save, other] if save_first else [other, save])
    saves = tmp_path / "checkpoints" / "ppo" / "saves"
    deadline = time.monotonic() + 200
    while not list(saves.glob("CartPole_*")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    completed = finish(tmp_path, process)
    assert 0 < completed["steps"] < completed["total_timesteps"] == 100_000
    assert (saves / "CartPole_final" / "model.zip").exists()
    assert completed["interrupted"] != save_first  # to the first it looks like an end in peace
