"""Killed at any moment, a run that saves all the time leaves a whole checkpoint behind."""

import random
import shutil

import pytest
import torch

from tests.checkpoints.conftest import small_model
from tests.checkpoints.dying import SaveAlways, die_after, dies_at_call
from velora_sb3 import load_checkpoint, save_checkpoint
from velora_sb3.checkpoints import list_checkpoints, newest_checkpoint
from velora_sb3.checkpoints.format.reading import check_files


def assert_whole(directory, last):
    for manifest in list_checkpoints(directory):
        check_files(manifest)  # none is torn, not the newest alone
    newest = newest_checkpoint(directory)
    model = load_checkpoint(newest, "CartPole-v1", device="cpu")
    assert model.num_timesteps >= last
    assert not torch.isnan(torch.cat([tensor.flatten() for tensor in model.policy.parameters()])).any()
    assert model.replay_buffer.pos == model.num_timesteps


def kill(directory, times):
    moments = random.Random(0)
    for number in range(times):
        place = directory / str(number % 5)  # some find what an earlier one left
        assert_whole(place, die_after(place, moments.uniform(0, 0.3)))


def test_killed_at_random_moments(tmp_path):
    kill(tmp_path, 12)


@pytest.mark.slow
def test_killed_at_a_hundred_random_moments(tmp_path):
    kill(tmp_path, 100)


@pytest.mark.parametrize("name", ["latest", "new"])
def test_killed_before_every_call_that_changes_the_disk(name, model, tmp_path):
    save_checkpoint(model, tmp_path / "latest")
    call = 0
    while dies_at_call(tmp_path / name, model, call):
        there = tmp_path / "new" if (tmp_path / "new").exists() else tmp_path
        assert_whole(there, 40)
        shutil.rmtree(tmp_path / "new", ignore_errors=True)
        call += 1
    assert call > 25
    assert (tmp_path / name).exists()


def test_what_is_killed_saves_and_removes_all_the_time(tmp_path):
    saved = []
    small_model(train_freq=1).learn(12, callback=SaveAlways(tmp_path, saved.append))
    assert saved == [1, 2, 4, 5, 7, 8, 10, 11]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "step_11", "step_9"]
