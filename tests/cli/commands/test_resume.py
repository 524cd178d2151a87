"""A run that was killed goes on as if it had never stopped."""

import json
import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from stable_baselines3 import DQN, PPO

from tests.checkpoints.runs import assert_equal, disturb
from tests.cli import dying_env
from velora_sb3 import RecurrentDQN
from velora_sb3.checkpoints.format.files import POLICY
from velora_sb3.cli import main
from velora_sb3.cli.experiment.directory import lock_run

ROOT = Path(__file__).parents[3]
RUNS = {
    "dqn": (DQN, {"learning_starts": 50, "batch_size": 8, "buffer_size": 500, "train_freq": 2}, 230),
    "ppo": (PPO, {"n_steps": 32, "batch_size": 32, "n_epochs": 2}, 158),
    "recurrent_dqn": (RecurrentDQN, {"learning_starts": 50, "batch_size": 2, "sequence_length": 4}, 230),
}
OTHERS = ("--metrics", "all.db", "--target", "1e9")


def command(algo, directory, *more):
    settings, steps = RUNS[algo][1], 320
    return [
        *("train", "--algo", algo, "--env", "DyingCartPole-v0", "--gym-packages", "tests.cli.dying_env"),
        *("--policy-kwargs", "{units: 4, initialization: ncps}", "--hyperparams", json.dumps(settings)),
        *("--seed", "1", "--steps", str(steps)),
        *("--n-envs", "2" if algo == "ppo" else "1", "--eval-freq", "100", "--checkpoint-every", "50", "--no-video"),
        *("--run-dir", str(directory), *more),
    ]


def forked(*argv, die_at=-1):
    """Run in a process of its own, as quickly as it may be had; its exit status."""
    child = os.fork()
    if child == 0:
        os.environ["DIE_AT"] = str(die_at)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os._exit(main(argv))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def rows(directory, name):
    table = pd.read_csv(directory / name)
    return table.drop(columns="seconds", errors="ignore")


def episodes_of(database):
    return sqlite3.connect(database).execute("SELECT number, return, length, timestep FROM episodes").fetchall()


@pytest.mark.parametrize("algo", RUNS)
def test_killed_and_resumed_it_is_the_run_in_one_piece_to_the_last_bit(algo, run, tmp_path):
    kind, _, die_at = RUNS[algo]
    assert forked(*command(algo, "killed", *OTHERS), die_at=die_at) == -signal.SIGKILL
    directory = tmp_path / "killed"
    assert not (directory / "result.json").exists()
    assert len(list((directory / "checkpoints" / "saves").glob("*_steps"))) == 2
    written = rows(directory, "episodes.csv")
    disturb()
    code, out, err = run("resume", directory, "--no-video")
    assert (code, err) == (0, "")
    start = int(out.partition(" at step ")[2].partition(" ")[0])
    assert 0 < start < written["timesteps"].max()  # there are rows to cut

    (tmp_path / "all.db").rename(tmp_path / "killed.db")
    code, _, _ = run(*command(algo, "whole", *OTHERS))
    assert code == 0
    whole = tmp_path / "whole"
    one, other = (kind.load(place / "model.zip", device="cpu") for place in (directory, whole))
    assert_equal(one.get_parameters(), other.get_parameters())
    for name in ("episodes.csv", "evaluations.csv"):
        pd.testing.assert_frame_equal(rows(directory, name), rows(whole, name))
    saved = [np.load(place / "evaluations.npz") for place in (directory, whole)]
    assert saved[0]["results"].tobytes() == saved[1]["results"].tobytes()
    assert episodes_of(tmp_path / "killed.db") == episodes_of(tmp_path / "all.db")
    results = [json.loads((place / "result.json").read_text()) for place in (directory, whole)]
    assert results[0] == results[1]
    names = [sorted(path.name for path in (place / "checkpoints" / "saves").iterdir()) for place in (directory, whole)]
    assert names[0] == names[1]
    assert sorted(path.name for path in directory.iterdir()) == sorted(path.name for path in whole.iterdir())


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A run that was really killed, in another process: PPO at its step 260 of 320."""
    directory = tmp_path_factory.mktemp("killed") / "run"
    environment = {**os.environ, "DIE_AT": "130", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    argv = [sys.executable, "-m", "velora_sb3", *command("ppo", directory)]
    process = subprocess.run(argv, cwd=directory.parent, env=environment, capture_output=True, text=True)
    assert process.returncode == -signal.SIGKILL, process.stderr
    return directory


def steps_of(checkpoint):
    return int(checkpoint.name.split("_")[1])


@pytest.fixture
def copy(killed, tmp_path):
    return Path(shutil.copytree(killed, tmp_path / "run"))


def test_a_damaged_checkpoint_is_told_and_the_one_before_is_taken(copy, run):
    before, newest = sorted((copy / "checkpoints" / "saves").iterdir(), key=steps_of)
    (newest / POLICY).write_bytes(b"damaged")
    code, out, err = run("resume", copy, "--no-video")
    assert (code, err) == (0, "")
    assert f"skipped a damaged checkpoint: {newest / POLICY} has 7 bytes" in out
    assert f" at step {steps_of(before)} of 320" in out


def test_a_finished_run_is_not_resumed_but_made_longer(copy, run):
    assert run("resume", copy, "--no-video")[0] == 0
    code, _, err = run("resume", copy)
    assert code == 2
    assert err.endswith("is finished (320 steps): pass a larger --steps to extend it\n")
    code, out, err = run("resume", copy, "--no-video", "--steps", 384)
    assert (code, err) == (0, "")
    assert " at step 320 of 384" in out
    assert PPO.load(copy / "model.zip").num_timesteps == 384
    assert json.loads((copy / "config.json").read_text())["steps"] == 384
    assert rows(copy, "episodes.csv")["timesteps"].is_monotonic_increasing
    assert run("resume", copy)[0] == 2


def test_a_video_is_recorded_at_the_end(copy, run, monkeypatch):
    recorded = []
    monkeypatch.setattr(
        "velora_sb3.cli.experiment.run.record_episode", lambda model, env, path, seed: recorded.append(path)
    )
    monkeypatch.setattr("velora_sb3.cli.experiment.launch.renders_frames", lambda env: True)
    monkeypatch.setattr("velora_sb3.cli.experiment.launch.video_unavailable_reason", lambda env: None)
    assert run("resume", copy, "--video")[0] == 0  # it was started without
    assert recorded == [copy / "video.mp4"]


def no_directory(directory):
    shutil.rmtree(directory)


def no_config(directory):
    (directory / "config.json").unlink()


def no_checkpoint(directory):
    shutil.rmtree(directory / "checkpoints")


def all_damaged(directory):
    for path in (directory / "checkpoints").glob(f"*/*/{POLICY}"):
        path.write_bytes(b"")


def other_env(directory):
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**config, "env": "CartPole-v1"}))


def other_algorithm(directory):
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**config, "algo": "a2c"}))


def unknown_env(directory):
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**config, "env": "DyingCartPole-v7"}))


@pytest.mark.parametrize(
    ("spoil", "options", "told"),
    [
        (no_directory, [], "no run directory"),
        (no_config, [], "config.json: No such file"),
        (no_checkpoint, [], "has no intact checkpoint (the first was due after 50 steps): start it again"),
        (all_damaged, [], "has no intact checkpoint"),
        (other_env, [], "was saved with environment DyingCartPole-v0, but"),
        (other_algorithm, [], "is of PPO, but"),
        (unknown_env, [], "unknown env 'DyingCartPole-v7'"),
        (lambda _: None, ["--steps", "100"], "--steps 100: the run has already reached step"),
    ],
)
def test_what_cannot_go_on_is_one_line_and_changes_nothing(spoil, options, told, copy, run):
    spoil(copy)
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    code, _, err = run("resume", copy, *options)
    assert code == 2
    assert told in err and err.count("\n") == 1
    assert before == {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}


def test_a_path_with_a_space_can_be_copied_from_the_error(copy, run, tmp_path):
    no_checkpoint(copy)
    copy.rename(tmp_path / "my run")
    _, _, err = run("resume", "my run")
    assert shlex.split(err)[-1] == str(tmp_path / "my run" / "config.json")


def test_a_run_may_save_nothing(run, tmp_path):
    code, _, _ = run(*command("ppo", "run"), "--checkpoint-every", "0", "--steps", "64")
    assert code == 0
    assert not (tmp_path / "run" / "checkpoints").exists()
    (tmp_path / "run" / "result.json").unlink()
    code, _, err = run("resume", "run")
    assert code == 2 and "(it was started with --checkpoint-every 0): start it again" in err


@pytest.fixture
def ctrl_c(monkeypatch):
    step, once = dying_env.Dying.step, []

    def interrupted(self, action):
        if self.steps == 70 and not once:
            once.append(True)
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, action)

    monkeypatch.setattr(dying_env.Dying, "step", interrupted)


@pytest.mark.usefixtures("ctrl_c")
def test_a_run_without_checkpoints_is_not_said_to_be_resumable(run):
    code, out, _ = run(*command("ppo", "run"), "--checkpoint-every", "0")
    assert code == 130
    assert "resume it:" not in out and "evaluate it: velora-sb3 evaluate run" in out


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_saves_where_the_run_can_go_on(run, tmp_path):
    code, out, _ = run(*command("ppo", "run"))
    assert code == 130
    assert "stopping at the end of this rollout; press Ctrl-C again to stop at once" in out
    assert "resume it:   velora-sb3 resume run" in out
    code, out, err = run("resume", "run", "--no-video")
    assert (code, err) == (0, "")
    assert " at step 192 of 320" in out  # the rollout of 64 steps in which it came
    code, _, _ = run(*command("ppo", "whole"))
    assert_equal(*(PPO.load(tmp_path / name / "model.zip").get_parameters() for name in ("run", "whole")))


def test_after_an_error_it_resumes_from_a_rollout_s_start_not_from_the_final_checkpoint(run, tmp_path, monkeypatch):
    step, once = dying_env.Dying.step, []

    def failing(self, action):
        if self.steps == 70 and not once:
            once.append(True)
            raise RuntimeError("once")
        return step(self, action)

    monkeypatch.setattr(dying_env.Dying, "step", failing)
    with pytest.raises(RuntimeError, match="once"):
        run(*command("ppo", "run"))
    assert (tmp_path / "run" / "checkpoints" / "saves" / "DyingCartPole_final").is_dir()
    code, out, err = run("resume", "run", "--no-video")
    assert (code, err) == (0, "")
    assert " at step 128 of 320" in out
    run(*command("ppo", "whole"))
    assert_equal(*(PPO.load(tmp_path / name / "model.zip").get_parameters() for name in ("run", "whole")))


def test_a_run_that_is_made_longer_is_unfinished_once_training_goes_on(copy, run, monkeypatch):
    assert run("resume", copy, "--no-video")[0] == 0
    outcome = copy / "result.json", copy / "video.mp4"
    outcome[1].touch()
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "n_envs": 1}))
    code, _, err = run("resume", copy, "--steps", 384)
    assert code == 2 and "the run had 2 environments, got 1" in err
    assert [path.exists() for path in outcome] == [True, True]

    (copy / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr(dying_env.Dying, "step", lambda self, action: os.kill(os.getpid(), signal.SIGINT))
    assert run("resume", copy, "--steps", 384)[0] == 130
    assert [path.exists() for path in outcome] == [False, False]


@pytest.mark.parametrize(("options", "recorded"), [((), False), (("--video",), True)])
def test_a_run_without_a_video_stays_without_unless_one_is_wanted(options, recorded, run, tmp_path):
    small = ("--hyperparams", json.dumps({"n_steps": 32, "batch_size": 32, "n_epochs": 1}), "--n-envs", 1)
    start = (
        "train",
        "--algo",
        "ppo",
        "--env",
        "CartPole-v1",
        "--steps",
        64,
        "--checkpoint-every",
        32,
        "--run-dir",
        "r",
    )
    assert run(*start, *small, "--no-video")[0] == 0
    assert run("resume", "r", "--steps", "96", *options)[0] == 0
    assert (tmp_path / "r" / "video.mp4").exists() == recorded


def test_the_file_of_metrics_is_found_from_another_directory(run, tmp_path, monkeypatch):
    small = ("--hyperparams", json.dumps({"n_steps": 32, "batch_size": 32, "n_epochs": 1}), "--n-envs", 1)
    start = (
        "train",
        "--algo",
        "ppo",
        "--env",
        "CartPole-v1",
        "--steps",
        64,
        "--checkpoint-every",
        32,
        "--run-dir",
        "r",
    )
    assert run(*start, *small, "--no-video", "--metrics", "all.db")[0] == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run("resume", "../r", "--steps", "256")[0] == 0
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert max(timestep for *_, timestep in episodes_of(tmp_path / "all.db")) > 64


def test_an_environment_whose_wrapper_shows_another_spec_goes_on(run, tmp_path):
    settings = ("--hyperparams", json.dumps({"n_steps": 32, "batch_size": 32, "n_epochs": 1}), "--no-video")
    start = (
        "train",
        "--algo",
        "ppo",
        "--env",
        "CartPoleNoVel-v1",
        "--n-envs",
        "1",
        "--checkpoint-every",
        "32",
        "--steps",
        "64",
    )
    assert run(*start, "--run-dir", tmp_path / "r", *settings)[0] == 0
    code, out, err = run("resume", tmp_path / "r", "--steps", "96", "--no-video")
    assert (code, err) == (0, "")
    assert " at step 64 of 96" in out


def test_a_run_that_goes_on_in_another_process_is_left_alone(run, tmp_path):
    assert forked(*command("ppo", tmp_path / "r"), die_at=158) == -signal.SIGKILL
    before = {path: path.read_bytes() for path in (tmp_path / "r").rglob("*") if path.is_file()}
    with lock_run(tmp_path / "r"):
        code, _, err = run("resume", tmp_path / "r", "--no-video")
    assert code == 2
    assert "another process is training the run" in err
    assert before == {path: path.read_bytes() for path in (tmp_path / "r").rglob("*") if path.is_file()}


OWN_CELL = """
from velora_sb3.cells import LRCCell

class OwnCell(LRCCell):
    pass
"""


def test_a_cell_of_the_user_s_own_in_the_working_directory(run, tmp_path, monkeypatch):
    (tmp_path / "velora_own_cell.py").write_text(OWN_CELL)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", ".", str(tmp_path))])
    settings = ("--hyperparams", '{"n_steps": 32, "batch_size": 32, "n_epochs": 1}', "--no-video", "--policy-kwargs")
    train = ("train", "--algo", "ppo", "--env", "CartPole-v1", "--n-envs", 1, *settings)
    kwargs = json.dumps({"cell": "velora_own_cell:OwnCell", "units": 4})
    code, _, err = run(*train, kwargs, "--run-dir", "x", "--steps", 64, "--checkpoint-every", 32)
    assert (code, err) == (0, "")
    code, _, err = run("resume", "x", "--steps", 128)
    assert (code, err) == (0, "")
    assert PPO.load(tmp_path / "x" / "model").num_timesteps == 128
    code, _, err = run("export", "x/checkpoints", "--to", "onnx", "--out", "pilot")
    assert (code, err) == (0, "")
    code, _, err = run(*train, '{"cell": "velora_own_cell:Other"}')
    assert code == 2
    assert "cell='velora_own_cell:Other' cannot be imported (module 'velora_own_cell' has no attribute 'Other')" in err
