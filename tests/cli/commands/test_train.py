import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
import torch
from stable_baselines3 import DDPG, PPO

from velora_sb3.cli import main
from velora_sb3.cli.algorithms import algorithms
from velora_sb3.cli.command_line import build_parser
from velora_sb3.cli.commands.train import read_config
from velora_sb3.cli.experiment.defaults import default_period
from velora_sb3.policies import LiquidTD3Policy

FILES = [
    "best_model.zip",
    "checkpoints",
    "config.json",
    "episodes.csv",
    "evaluations.csv",
    "evaluations.npz",
    "learning_curve.png",
    "model.zip",
    "result.json",
    "video.mp4",
]
OFF_POLICY = ["ddpg", "td3", "sac", "tqc", "crossq", "dqn", "qrdqn"]
ON_POLICY = ["ppo", "trpo", "maskable_ppo", "recurrent_ppo", "recurrent_maskable_ppo"]
RECURRENT = {"learning_starts": 20, "batch_size": 2, "sequence_length": 4}
SMALL = {
    **{name: {"learning_starts": 20, "batch_size": 8} for name in OFF_POLICY},
    **{name: {"n_steps": 32, "batch_size": 16} for name in ON_POLICY},
    "a2c": {"n_steps": 8},
    "ars": {"n_delta": 1},
}


def weights(directory):
    return DDPG.load(directory / "model.zip", device="cpu").policy.state_dict()


def test_a_run_directory_holds_everything(trained):
    assert sorted(path.name for path in trained.iterdir()) == FILES
    model = DDPG.load(trained / "model.zip", device="cpu")
    assert type(model.policy) is LiquidTD3Policy
    assert model.num_timesteps == 450
    assert model.batch_size == 16
    assert pd.read_csv(trained / "episodes.csv")["timesteps"].tolist() == [200, 400]
    assert np.load(trained / "evaluations.npz")["timesteps"].tolist() == [200, 400]
    assert (trained / "learning_curve.png").read_bytes().startswith(b"\x89PNG")


def test_the_config_is_json_with_all_that_was_asked_for(trained):
    config = json.loads((trained / "config.json").read_text())
    assert config["algo"] == "ddpg"
    assert config["env"] == "Pendulum-v1"
    assert config["policy"] == "LiquidPolicy"
    assert config["policy_kwargs"] == {"units": 8}
    assert config["hyperparams"]["batch_size"] == 16  # over the defaults for Pendulum
    assert config["hyperparams"]["noise_std"] == 0.1
    assert config["seed"] == 7
    assert config["versions"]["torch"] == torch.__version__


def test_the_config_repeats_the_run(trained, run, tmp_path):
    code, out, _ = run("train", "--config", trained / "config.json", "--run-dir", tmp_path / "again", "--no-video")
    assert code == 0
    first, second = weights(trained), weights(tmp_path / "again")
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert (trained / "evaluations.csv").read_text() == (tmp_path / "again" / "evaluations.csv").read_text()
    configs = [json.loads((place / "config.json").read_text()) for place in (trained, tmp_path / "again")]
    assert configs[0] | {"video": False} == configs[1]
    assert "video.mp4" not in out


def test_options_change_a_repeated_run(trained, run, tmp_path):
    run("train", "--config", trained / "config.json", "--run-dir", "other", "--seed", "8", "--no-video", "--steps", 210)
    first, second = weights(trained), weights(tmp_path / "other")
    assert any(not torch.equal(first[name], second[name]) for name in first)
    assert json.loads((tmp_path / "other" / "config.json").read_text())["steps"] == 210


def test_what_a_config_by_hand_omits_has_the_defaults_of_the_options(run, tmp_path):
    (tmp_path / "mine.json").write_text(json.dumps({"algo": "ddpg", "env": "Pendulum-v1", "steps": 200, "seed": 1}))
    options = ("--algo", "ddpg", "--env", "Pendulum-v1", "--steps", 200, "--seed", 1)
    for name, settings in (("mine", ("--config", tmp_path / "mine.json")), ("theirs", options)):
        assert run("train", *settings, "--run-dir", name, "--no-video", "--policy-kwargs", "units: 8")[0] == 0
    mine, theirs = (json.loads((tmp_path / name / "config.json").read_text()) for name in ("mine", "theirs"))
    assert mine == theirs
    assert mine["checkpoint_every"] == 200


def test_periods_that_were_given_stay_if_the_steps_change(tmp_path):
    settings = {"algo": "ddpg", "env": "Pendulum-v1", "steps": 10_000, "seed": 1}
    (tmp_path / "mine.json").write_text(json.dumps({**settings, "eval_freq": 500, "checkpoint_every": 1_000}))
    given = ["train", "--config", str(tmp_path / "mine.json"), "--steps", "40000"]
    config = read_config(build_parser().parse_args(given))
    assert (config.eval_freq, config.checkpoint_every) == (500, default_period(40_000))


@pytest.mark.parametrize("algo", algorithms())
def test_every_algorithm_trains(algo, run, tmp_path):
    env = "VeloraMasked-v0" if "maskable" in algo else "CartPole-v1" if algo.endswith("dqn") else "Pendulum-v1"
    code, out, err = run(
        *("train", "--algo", algo, "--env", env, "--steps", 64, "--eval-freq", 0, "--no-video", "--seed", 0),
        *("--policy-kwargs", "units: 4", "--hyperparams", json.dumps(SMALL.get(algo, RECURRENT))),
    )
    assert (code, err) == (0, "")
    assert "done" in out
    directory = tmp_path / "runs" / f"{algo}-{env}-1"
    code, out, err = run("evaluate", directory, "--episodes", 1)
    assert (code, err) == (0, "")


def test_the_output_fits_80_columns(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = run("train", "--algo", "ppo", "--env", "CartPole-v1", "--steps", 256, "--no-video", "--seed", 1)
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    assert "256/256 steps" in out
    assert "return  " in out
    assert "runs/ppo-CartPole-v1-1" in out
    assert "\x1b" not in out


def test_an_mlp_policy_works_too(run):
    argv = ["--algo", "ppo", "--env", "CartPole-v1", "--policy", "MlpPolicy", "--steps", 256, "--no-video"]
    assert run("train", *argv)[0] == 0


@pytest.mark.parametrize("algo", ["maskable_ppo", "recurrent_maskable_ppo"])
def test_masks_are_kept_in_the_video_too(algo, run, tmp_path):
    code, _, _ = run(
        *("train", "--algo", algo, "--env", "VeloraMasked-v0", "--steps", 32, "--run-dir", "r"),
        *("--hyperparams", '{"n_steps": 32, "batch_size": 16}'),
    )
    assert code == 0
    assert sorted(path.name for path in (tmp_path / "r").iterdir()) == FILES


def test_an_existing_directory_is_not_touched(trained, run):
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    code, _, err = run("train", "--algo", "ddpg", "--env", "Pendulum-v1", "--run-dir", trained)
    assert code == 2
    assert "already exists: choose another with --run-dir" in err
    assert before == {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}


def test_missing_extras_are_told_before_training_and_training_goes_on(run, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    code, out, _ = run("train", "--algo", "ppo", "--env", "CartPole-v1", "--steps", 256, "--run-dir", "r")
    assert code == 0
    told = out.index('pip install "velora-sb3[plot]"'), out.index('pip install "velora-sb3[video]"')
    assert max(told) < out.index("256/256 steps")
    assert not {"learning_curve.png", "video.mp4"} & {path.name for path in (tmp_path / "r").iterdir()}


def test_a_renderer_without_its_package_is_told_before_training(run, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pygame", None)
    code, out, _ = run("train", "--algo", "ddpg", "--env", "Pendulum-v1", "--steps", 20, "--run-dir", "r")
    assert code == 0
    assert out.index("no video: Pendulum-v1 cannot be rendered: pygame is not installed") < out.index("20/20 steps")
    assert (tmp_path / "r" / "model.zip").exists()


def test_a_failing_renderer_loses_nothing(run, tmp_path):
    code, out, _ = run("train", "--algo", "ppo", "--env", "VeloraBrokenRenderer-v0", "--steps", 64, "--run-dir", "r")
    assert code == 0
    assert "no video: the display is gone\n" in out
    assert sorted(path.name for path in (tmp_path / "r").iterdir()) == [name for name in FILES if name != "video.mp4"]


def test_an_error_while_training_is_no_user_error_and_the_model_is_saved(run, monkeypatch, tmp_path):
    def broken(self):
        raise ValueError("a real bug")

    monkeypatch.setattr("velora_sb3.cli.experiment.episode_log.EpisodeLog._on_rollout_end", broken)
    with pytest.raises(ValueError, match="a real bug"):
        main(["train", "--algo", "ddpg", "--env", "Pendulum-v1", "--steps", "20", "--run-dir", "r"])
    assert (tmp_path / "r" / "model.zip").exists()


def test_interrupting_the_final_evaluation_keeps_model_and_summary(run, monkeypatch, tmp_path):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("velora_sb3.cli.experiment.run.evaluate_model", interrupted)
    code, out, _ = run("train", "--algo", "ddpg", "--env", "Pendulum-v1", "--steps", 20, "--run-dir", "r")
    assert code == 130
    assert "interrupted" in out
    assert {"model.zip", "learning_curve.png"} <= {path.name for path in (tmp_path / "r").iterdir()}


def killed_by(signum, cwd, argv, begun):
    """Train in a process group, and send it a signal once ``begun()`` is true."""
    process = subprocess.Popen(
        [sys.executable, "-m", "velora_sb3", "train", *map(str, argv)],
        cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline and process.poll() is None and not begun():
            time.sleep(0.1)
        os.killpg(process.pid, signum)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, out, err


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_cleanly_with_everything_saved(signum, tmp_path):
    argv = ["--algo", "ppo", "--env", "CartPole-v1", "--steps", 1_000_000, "--run-dir", "r", "--seed", 0]
    directory = tmp_path / "r"
    code, out, err = killed_by(
        signum, tmp_path, [*argv, "--eval-freq", 300], lambda: (directory / "best_model.zip").exists()
    )
    assert code == 128 + signum, err
    assert "Traceback" not in err
    assert "interrupted: ppo on CartPole-v1" in out
    assert "of 1,000,000" in out
    unfinished = [name for name in FILES if name not in ("result.json", "video.mp4")]
    assert sorted(path.name for path in directory.iterdir()) == unfinished
    assert main(["evaluate", str(directory), "--episodes", "1"]) == 0


# An environment that steps in a worker process, which Ctrl-C in a terminal reaches too.
WORKERS = """
import gymnasium as gym, multiprocessing
class InAProcess(gym.Env):
    observation_space, action_space = gym.spaces.Box(-1, 1, (1,)), gym.spaces.Discrete(2)
    worker = None
    def reset(self, *, seed=None, options=None):
        if self.worker is None:
            self.worker, theirs = multiprocessing.Pipe()
            multiprocessing.get_context("fork").Process(target=work, args=(theirs,), daemon=True).start()
            theirs.close()
        self.steps = 0
        return self.observation_space.sample(), {}
    def step(self, action):
        self.steps += 1
        self.worker.send(self.steps)
        return self.observation_space.sample(), 1.0, self.worker.recv(), False, {}
def work(pipe):
    try:
        while True:
            pipe.send(pipe.recv() == 10)
    except (KeyboardInterrupt, EOFError):
        pass
gym.register("InAProcess-v0", InAProcess)
"""


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_that_also_ends_the_workers_of_an_environment_saves_the_model(signum, tmp_path):
    (tmp_path / "workers.py").write_text(WORKERS)
    argv = ["--algo", "ppo", "--env", "InAProcess-v0", "--gym-packages", "workers", "--steps", 10**6, "--run-dir", "r"]
    log = tmp_path / "r" / "episodes.csv"
    code, out, err = killed_by(
        signum, tmp_path, [*argv, "--eval-freq", 0], lambda: log.exists() and len(log.read_text()) > 200
    )
    assert code == 128 + signum, err
    assert "Traceback" not in err
    assert "stopped within a rollout: " in out
    assert (tmp_path / "r" / "model.zip").exists()


class Interfering(gym.Wrapper):
    """CartPole that does something at a step of training."""

    at, count = {}, 0

    def step(self, action):
        Interfering.count += 1
        Interfering.at.get(Interfering.count, lambda: None)()
        return super().step(action)


@pytest.fixture
def interfere():
    """``interfere({300: do, 600: undo})``: options of a run within which that happens."""
    if "VeloraInterfering-v0" not in gym.registry:
        gym.register("VeloraInterfering-v0", lambda: Interfering(gym.make("CartPole-v1")))

    def at(steps):
        Interfering.at, Interfering.count = steps, 0
        return "--algo", "a2c", "--env", "VeloraInterfering-v0", "--policy", "MlpPolicy", "--run-dir", "r", "--seed", 0

    return at


def test_a_signal_in_an_evaluation_saves_the_model_at_once(run, interfere, tmp_path):
    """The evaluation may take longer than the process has."""
    saved = []
    steps = {
        120: lambda: os.kill(os.getpid(), signal.SIGTERM),
        122: lambda: saved.append((tmp_path / "r" / "model.zip").exists()),
    }
    code, out, _ = run("train", *interfere(steps), "--steps", 400, "--eval-freq", 100, "--no-video")
    assert (code, saved) == (143, [True])
    assert out.count("stopping at the end of this rollout") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("name", ["episodes.csv", "evaluations.csv"])
def test_a_full_disk_ends_no_run_and_loses_nothing(name, run, interfere, tmp_path):
    file, kept = tmp_path / "r" / name, tmp_path / "kept"

    def fill():
        file.rename(kept)
        file.symlink_to("/dev/full")

    def free():
        file.unlink()
        kept.rename(file)

    options = interfere({300: fill, 900: free})
    code, out, err = run("train", *options, "--steps", 2000, "--eval-freq", 200, "--no-video")
    assert (code, err) == (0, "")
    assert f"{name} cannot be written (No space left on device); training continues" in " ".join(out.split())
    table = pd.read_csv(file)
    if name == "episodes.csv":
        assert table["length"].cumsum().tolist() == table["timesteps"].tolist()  # none is missing
    else:
        assert table["timesteps"].tolist() == list(range(200, 2001, 200))


def test_a_disk_that_stays_full_fails_the_run_and_says_what_is_missing(run, interfere, tmp_path, monkeypatch):
    full = []
    real = Path.write_bytes

    def write_bytes(self, content):
        if full and self.parent.name == "r":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return real(self, content)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    options = interfere({300: lambda: full.append(True)})
    code, out, err = run("train", *options, "--steps", 600, "--eval-freq", 0, "--no-video")
    assert (code, err) == (1, "")
    assert "incomplete: a2c on VeloraInterfering-v0" in out
    assert "model.zip could not be written: No space left on device" in out
    assert not (tmp_path / "r" / "result.json").exists()
    full.clear()
    assert run("resume", "r", "--no-video")[0] == 0  # its checkpoints did fit
    assert {"model.zip", "result.json"} <= {path.name for path in (tmp_path / "r").iterdir()}


def test_a_run_whose_checkpoints_did_not_fit_is_not_said_to_be_resumable(run, interfere, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("velora_sb3.callbacks.checkpointing.save_checkpoints.write_sb3_files", full)
    monkeypatch.setattr("velora_sb3.cli.experiment.run_files.WholeFile._write_pending", full)
    code, out, _ = run("train", *interfere({}), "--steps", 100, "--eval-freq", 0, "--no-video")
    assert code == 1
    assert "resume it:" not in out and "evaluate it:" not in out
    assert "repeat it:   free some space; velora-sb3 train --config r/config.json" in out


def test_an_environment_may_change_the_directory(run, interfere, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    options = interfere({300: lambda: os.chdir(tmp_path / "elsewhere")})
    code, _, err = run("train", *options, "--steps", 600, "--eval-freq", 200, "--metrics", "all.db", "--no-video")
    assert (code, err) == (0, "")
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert (tmp_path / "all.db").exists()
    assert {"model.zip", "result.json"} <= {path.name for path in (tmp_path / "r").iterdir()}


def test_the_best_evaluated_model_is_kept(run, tmp_path):
    small = ("--hyperparams", '{"n_steps": 32, "batch_size": 32, "learning_rate": 0.01}', "--n-envs", 1)
    argv = (
        "--algo",
        "ppo",
        "--env",
        "CartPole-v1",
        "--policy",
        "MlpPolicy",
        "--seed",
        3,
        "--no-video",
        "--run-dir",
        "r",
    )
    code, out, _ = run("train", *argv, *small, "--steps", 960, "--eval-freq", 96, "--no-video")
    assert code == 0
    evaluations = pd.read_csv(tmp_path / "r" / "evaluations.csv")
    best = evaluations.loc[evaluations["mean_return"].idxmax()]
    assert f"{best['mean_return']:,.1f} at step {int(best['timesteps']):,}: best_model.zip" in out
    assert PPO.load(tmp_path / "r" / "best_model.zip", device="cpu").num_timesteps == best["timesteps"]


def test_evaluations_by_default():
    assert [default_period(steps) for steps in (300, 5_000, 20_000, 100_000)] == [300, 1_000, 1_000, 5_000]


def test_missing_options_are_named(run):
    _, _, err = run("train", "--env", "Pendulum-v1")
    assert "train needs --algo, or --config" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--algo", "recurrent_sac", "--hyperparams", "buffer_size: 20"], "buffer_size=20 holds 20 steps"),
        (["--algo", "ddpg", "--policy", "MultiInputPolicy"], "DDPG on Pendulum-v1: "),
        (["--algo", "ddpg", "--policy-kwargs", "wiring_seed: x"], "wiring_seed must be an integer of at least 0"),
        (["--algo", "ddpg", "--metrics", "file/all.db"], "file is not a directory: choose another path"),
        (["--algo", "ddpg", "--metrics", "."], "is a directory: choose another path"),
        (["--algo", "ddpg", "--metrics", "file"], "--metrics: cannot read"),
        (["--algo", "ddpg", "--metrics", "x" * 300], "File name too long"),
        (["--algo", "ddpg", "--run-dir", "file/run"], "cannot create the run directory file/run: Not a directory"),
        (["--algo", "ddpg", "--device", "gpu"], "--device gpu: torch has no such device; use auto, cpu or"),
        (["--algo", "sac", "--hyperparams", "ent_coef: atuo"], "ent_coef must be a number, 'auto' or, with an initial"),
    ],
)
def test_what_cannot_be_built_is_one_line_and_leaves_nothing(run, tmp_path, options, message):
    (tmp_path / "file").write_text("no database")
    code, _, err = run("train", "--env", "Pendulum-v1", "--steps", 300, *options)
    assert code == 2
    assert err.count("\n") == 1
    assert message in err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_another_algorithm_cannot_take_a_run_s_settings(run, trained):
    code, _, err = run("train", "--config", trained / "config.json", "--algo", "ppo")
    assert code == 2
    assert "is a run of ddpg, whose settings do not fit ppo: omit --algo" in err
