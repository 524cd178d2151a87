"""RL Zoo: callbacks from a YAML file, and our launcher. Runs where rl_zoo3 is installed: ``tox -e extras``."""

import json
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from velora_sb3 import zoo
from velora_sb3.cli.algorithms import algorithms

needs_rl_zoo = pytest.mark.skipif(find_spec("rl_zoo3") is None, reason="rl_zoo3 is not installed; tox -e extras has it")

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


@needs_rl_zoo
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


@needs_rl_zoo
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
    newest = max(json.loads(path.read_text())["timesteps"] for path in saves.glob("*/metadata.json"))
    assert newest == completed["steps"]
    assert completed["interrupted"] != save_first  # to the first it looks like an end in peace


def launch(folder, program, *options):
    command = [sys.executable, "-m", "velora_sb3.zoo", program, *options, "--device", "cpu", "--seed", "0"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def arguments(algo, env="PendulumNoVel-v1"):
    return ["--algo", algo, "--env", env]


def write_settings(folder, env="PendulumNoVel-v1", **settings):
    save = {SAVE_CHECKPOINTS: {"dirname": "saved", "every_n_timesteps": 150}}
    run = {"n_timesteps": 200, "policy": "LiquidPolicy", "policy_kwargs": "dict(mode='no_gate', net_arch=[8])"}
    (folder / "x.yml").write_text(yaml.safe_dump({env: {**run, "callback": [save], **settings}}))
    return ["--conf-file", "x.yml", "--eval-freq", "-1"]


def config(directory):
    return json.loads((directory / "saved" / "model_config.json").read_text())


OFF_POLICY = {"learning_starts": 150, "batch_size": 4, "buffer_size": 500}


@needs_rl_zoo
def test_a_recurrent_algorithm_trains_again_continues_and_acts(tmp_path):
    file = write_settings(tmp_path, sequence_length=8, **OFF_POLICY)
    logs = tmp_path / "logs" / "recurrent_sac"
    launch(tmp_path, "train", *arguments("recurrent_sac"), *file, "--save-replay-buffer")
    launch(tmp_path, "train", *arguments("recurrent_sac"), *file)
    trained = logs / "PendulumNoVel-v1_1" / "PendulumNoVel-v1.zip"
    launch(tmp_path, "train", *arguments("recurrent_sac"), *file, "-i", str(trained))
    for run in (1, 2, 3):
        checkpoints = logs / f"PendulumNoVel-v1_{run}" / "checkpoints"
        assert config(checkpoints)["policy_kwargs"]["mode"] == "no_gate"
        assert (checkpoints / "saved" / "saves" / "PendulumNoVel_final" / "model.zip").exists()
    output = launch(tmp_path, "enjoy", *arguments("recurrent_sac"), "-f", "logs", "-n", "250", "--no-render")
    assert "1 Episodes" in output


@needs_rl_zoo
@pytest.mark.parametrize(
    ("algo", "env", "settings"),
    [
        ("recurrent_sac", "PendulumNoVel-v1", OFF_POLICY),
        ("recurrent_ppo", "CartPole-v1", {"n_steps": 64, "batch_size": 64, "n_epochs": 1}),
    ],
)
def test_a_study_draws_liquid_settings_and_keeps_the_others_and_the_callbacks(tmp_path, algo, env, settings):
    file = write_settings(tmp_path, env, **settings)
    study = ["--study-name", "study", "--storage", "study.log"]
    tuning = ["-optimize", "--n-trials", "2", "--n-evaluations", "1", "--eval-episodes", "1", "--no-optim-plots"]
    output = launch(tmp_path, "train", *arguments(algo, env), *file, *study, *tuning)
    assert "Number of finished trials:  2" in output
    logs = tmp_path / "logs" / algo
    trials = [config(logs / f"{env}_1" / "checkpoints" / f"trial_{trial}") for trial in range(2)]
    for trial in trials:
        assert trial["policy_kwargs"]["mode"] == "no_gate"
        assert trial["policy_kwargs"]["units"] in (16, 32, 64, 128)
    launch(tmp_path, "train", *arguments(algo, env), *file, *study, "--trial-id", "1")
    again = config(logs / f"{env}_2" / "checkpoints")
    assert again["policy_kwargs"] == trials[1]["policy_kwargs"]


@needs_rl_zoo
def test_a_study_of_another_policy_is_refused(tmp_path):
    file = write_settings(tmp_path, "CartPole-v1", policy="MlpLstmPolicy", policy_kwargs="dict()")
    command = [sys.executable, "-m", "velora_sb3.zoo", "train", *arguments("recurrent_ppo", "CartPole-v1"), *file]
    result = subprocess.run([*command, "-optimize"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert result.returncode == 1
    assert result.stderr.endswith("samples settings of LiquidPolicy, got the policy MlpLstmPolicy\n")


def test_a_root_is_shared_by_runs_of_all_algorithms():
    pytest.importorskip("rl_zoo3")
    callbacks = [EARLY_STOPPING, {SAVE_CHECKPOINTS: {"dirname": "saved", "root": "mine"}}]
    placed = zoo.in_folder(callbacks, Path("logs", "recurrent_sac", "Env_1"), "trial_3")
    root = str(Path("mine", "recurrent_sac", "Env_1", "trial_3"))
    assert placed == [EARLY_STOPPING, {SAVE_CHECKPOINTS: {"dirname": "saved", "root": root}}]


def test_the_names_are_those_of_the_command_line():
    assert {name: algo for name, algo in algorithms().items() if name.startswith("recurrent_")} == zoo.ALGORITHMS


def test_without_rl_zoo_one_line_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("velora_sb3._optional.find_spec", lambda module: None)
    monkeypatch.setattr(sys, "argv", ["zoo.py", "train"])
    with pytest.raises(SystemExit, match=r'needs rl_zoo3: pip install "velora-sb3\[zoo\]"'):
        zoo.main()
