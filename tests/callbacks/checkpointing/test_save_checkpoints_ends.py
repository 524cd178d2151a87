"""Runs that are cut short, disks that are full, programs that are killed."""

import gc
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import gymnasium as gym
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import SubprocVecEnv, VecNormalize

from tests.callbacks.runs import (
    DDPG,
    PPO,
    Listener,
    RaiseAt,
    Steps,
    actions,
    fill,
    make_env,
    make_model,
    names,
    read,
    saver,
    weights,
)
from velora_sb3.callbacks import VeloraCallback

ROOT = Path(__file__).parents[3]
FORK = multiprocessing.get_context("fork")


def test_an_interrupted_run_is_saved_at_the_end_of_the_with_block(tmp_path):
    model = make_model(DDPG, make_env(tmp_path, DDPG))
    with pytest.raises(KeyboardInterrupt), saver(tmp_path) as save:
        model.learn(96, callback=[save, RaiseAt(30)])
    completed = read(save.directory / "completed.json")
    assert (completed["interrupted"], completed["early_stopped"], completed["steps"]) == (True, False, 30)
    assert torch.equal(weights(DDPG.load(save.saves / "Steps_final" / "model")), weights(model))


def test_ctrl_c_waits_for_the_checkpoint_that_is_being_written(tmp_path):
    class PressesCtrlC(VeloraCallback):
        def state_dict(self):
            os.kill(os.getpid(), signal.SIGINT)
            return super().state_dict()

    with pytest.raises(KeyboardInterrupt), saver(tmp_path, frequency=1) as save:
        make_model(PPO, make_env(tmp_path)).learn(96, callback=[save, PressesCtrlC()])
    (saved,) = save.saved
    assert (saved / "manifest.json").exists()
    assert read(saved / "metadata.json")["timesteps"] == read(save.directory / "completed.json")["steps"] < 96


def test_the_program_ends_before_the_run_does(tmp_path):
    program = f"""
from pathlib import Path
from tests.callbacks.runs import PPO, RaiseAt, make_env, make_model
from velora_sb3.callbacks import SaveCheckpoints

path = Path({str(tmp_path)!r})
env = make_env(path, n_envs=2, subproc=True)
make_model(PPO, env).learn(96, callback=[SaveCheckpoints("run", root=path), RaiseAt(30)])
"""
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert "KeyboardInterrupt" in result.stderr
    assert PPO.load(tmp_path / "run" / "saves" / "Steps_final" / "model").num_timesteps == 60
    assert read(tmp_path / "run" / "completed.json")["interrupted"]


def test_a_run_that_failed_to_start_leaves_no_checkpoint(tmp_path):
    class Fails(Listener):
        def _on_start(self):
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"), saver(tmp_path) as save:
        make_model(PPO, make_env(tmp_path)).learn(16, callback=[save, Fails()])
    assert names(save) == []
    assert not (save.directory / "completed.json").exists()


def test_a_directory_that_cannot_be_made_raises_before_training(tmp_path):
    fill(tmp_path / "checkpoints")  # a file in its place
    model = make_model(PPO, make_env(tmp_path))
    with pytest.raises(OSError, match="checkpoints"):
        model.learn(16, callback=saver(tmp_path))
    assert model.num_timesteps == 0


def test_a_checkpoint_that_fails_later_warns_once_and_training_goes_on(tmp_path):
    save = saver(tmp_path, frequency=2)

    class Trouble(BaseCallback):
        """A file stands where the directory was, and goes away again."""

        def _on_step(self):
            if self.n_calls == 20:
                save.saves.rename(save.directory / "elsewhere")
                save.saves.write_text("in the way")
            if self.n_calls == 70:
                save.saves.unlink()
                (save.directory / "elsewhere").rename(save.saves)
            return True

    model = make_model(DDPG, make_env(tmp_path, DDPG, length=4))
    with pytest.warns(RuntimeWarning, match="training continues and later ones are tried") as warned:
        model.learn(96, callback=[save, Trouble()])
    assert len(warned) == 1
    assert "Steps_6 (" in str(warned[0].message)
    assert "FileExistsError" in str(warned[0].message)
    assert model.num_timesteps == 96
    assert names(save) == sorted(["Steps_2", "Steps_4", "Steps_18", "Steps_20", "Steps_22", "Steps_24", "Steps_final"])


class FullDisk(BaseCallback):
    """From now on no file may grow beyond a size."""

    def _on_step(self):
        if self.n_calls == 20:
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
        return True


def train_on_a_full_disk(tmp_path, answer):
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        model = make_model(DDPG, make_env(tmp_path, DDPG, length=4))
        model.learn(96, callback=[saver(tmp_path, frequency=2), FullDisk()])
        gc.collect()  # files that were left open would be told of here
    answer.send((model.num_timesteps, [str(warning.message) for warning in warned]))


def test_a_full_disk_does_not_end_training(tmp_path):
    receive, answer = FORK.Pipe(duplex=False)
    process = FORK.Process(target=train_on_a_full_disk, args=(tmp_path, answer))
    process.start()
    assert receive.poll(60)
    steps, warned = receive.recv()
    process.join()
    assert steps == 96
    assert [text.partition(" (")[0].rpartition("/")[2] for text in warned] == ["Steps_6", "Steps_final"]
    assert all("File too large" in text for text in warned)
    directory = tmp_path / "checkpoints" / "run"
    saves = sorted((directory / "saves").iterdir())
    assert [path.name for path in saves] == ["Steps_2", "Steps_4"]  # and nothing torn beside them
    assert DDPG.load(saves[1] / "model").num_timesteps == 16
    assert read(directory / "completed.json")["steps"] == 96


def train_for_ever(tmp_path):
    save = saver(tmp_path, frequency=1, buffer=True, force=True)
    make_model(DDPG, make_env(tmp_path, DDPG, length=1), buffer_size=20_000).learn(10**9, callback=save)


def test_a_killed_program_leaves_only_whole_checkpoints(tmp_path):
    saves, found = tmp_path / "checkpoints" / "run" / "saves", 0
    for milliseconds in (0, 11, 23, 37):
        process = FORK.Process(target=train_for_ever, args=(tmp_path,))
        process.start()
        while process.is_alive() and not (saves / "Steps_3").exists():
            time.sleep(0.01)
        time.sleep(milliseconds / 1000)
        process.kill()
        process.join()
        for path in (path for path in saves.iterdir() if not path.name.startswith(".")):
            model = DDPG.load(path / "model", env=make_env(tmp_path, DDPG))
            model.load_replay_buffer(path / "replay_buffer")
            assert model.num_timesteps == read(path / "metadata.json")["timesteps"] == model.replay_buffer.size()
            found += 1
        shutil.rmtree(saves)
    assert found >= 12


class Fragile(gym.Wrapper):
    """The process of the environment dies."""

    def step(self, action):
        self.steps = getattr(self, "steps", 0) + 1
        if self.steps == 20:
            os._exit(1)
        return super().step(action)


@pytest.mark.parametrize("normalize", [False, True])
def test_the_model_is_saved_though_the_environments_are_gone(normalize, tmp_path):
    makers = [lambda: Fragile(Steps(actions(PPO), length=4))] * 2
    env = SubprocVecEnv(makers, start_method="fork")
    env = VecNormalize(env) if normalize else env
    model = make_model(PPO, env)
    with pytest.raises((EOFError, ConnectionError)), saver(tmp_path) as save:
        model.learn(96, callback=save)  # without a warning, which would be an error
    final = save.saves / "Steps_final"
    assert torch.equal(weights(PPO.load(final / "model")), weights(model))
    assert (final / "vecnormalize.pkl").exists() == normalize
    assert read(save.directory / "completed.json")["interrupted"]
    for process in env.unwrapped.processes:
        process.terminate()
