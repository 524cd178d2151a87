"""Directories that hold something, and runs that go on."""

import json

import numpy as np
import pytest

from tests.callbacks.runs import DDPG, PPO, Listener, RaiseAt, fill, make_env, make_model, names, read, saver
from velora_sb3.callbacks.checkpointing.kept_checkpoints import KeptCheckpoints


@pytest.mark.parametrize("file", ["model_config.json", "saves/CartPole_100/model.zip", "videos/a.mp4"])
def test_a_directory_that_holds_something_is_refused(file, tmp_path):
    fill(tmp_path / "checkpoints" / "run" / file)
    with pytest.raises(FileExistsError, match="another dirname than 'run', move or delete .* force=True"):
        saver(tmp_path)
    saver(tmp_path, "another")
    saver(tmp_path, force=True)


def test_only_one_of_two_runs_that_start_at_the_same_moment_gets_the_directory(tmp_path, monkeypatch):
    first, second = saver(tmp_path), saver(tmp_path)
    clear = KeptCheckpoints.clear

    def start_the_other_first(kept):
        monkeypatch.setattr(KeptCheckpoints, "clear", clear)
        make_model(PPO, make_env(tmp_path)).learn(16, callback=first)
        clear(kept)

    monkeypatch.setattr(KeptCheckpoints, "clear", start_the_other_first)
    with pytest.raises(FileExistsError, match="choose another dirname than 'run'"):
        make_model(PPO, make_env(tmp_path)).learn(16, callback=second)
    assert "Steps_final" in names(first)


def test_a_directory_without_files_is_free(tmp_path):
    (tmp_path / "checkpoints" / "run" / "saves").mkdir(parents=True)
    save = saver(tmp_path)
    make_model(PPO, make_env(tmp_path)).learn(16, callback=save)
    assert "Steps_final" in names(save)


def test_force_replaces_what_has_the_same_name_and_nothing_else(tmp_path):
    directory = tmp_path / "checkpoints" / "run"
    same, other, note = (
        fill(directory / name) for name in ("saves/Steps_2/old", "saves/Steps_1234/model.zip", "notes.txt")
    )
    fill(directory / "completed.json")
    save = saver(tmp_path, frequency=2, force=True)
    with pytest.raises(KeyboardInterrupt):
        make_model(DDPG, make_env(tmp_path, DDPG, length=4)).learn(48, callback=[save, RaiseAt(20)])
    assert not (directory / "completed.json").exists()  # it is running again
    save.on_training_end()
    assert not same.exists()
    assert names(save) == ["Steps_1234", "Steps_2", "Steps_4", "Steps_final"]
    assert other.read_text() == note.read_text() == "precious"
    assert read(directory / "completed.json")["episodes"] == 5


def test_a_second_run_does_not_overwrite_the_first(tmp_path):
    model, save = make_model(PPO, make_env(tmp_path)), saver(tmp_path)
    model.learn(16, callback=save)
    before = (save.saves / "Steps_final" / "model.zip").read_bytes()
    with pytest.raises(FileExistsError, match="force=True"):
        model.learn(16, callback=save)
    save.on_training_end()
    assert (save.saves / "Steps_final" / "model.zip").read_bytes() == before
    save.force = True
    model.learn(16, callback=save)
    assert (save.saves / "Steps_final" / "model.zip").read_bytes() != before


def test_two_callbacks_cannot_share_a_directory(tmp_path):
    with pytest.raises(FileExistsError, match="run"):
        make_model(PPO, make_env(tmp_path)).learn(16, callback=[saver(tmp_path), saver(tmp_path)])


def test_going_on_goes_on_counting(tmp_path):
    model, save, listener = make_model(DDPG, make_env(tmp_path, DDPG)), saver(tmp_path, frequency=4), Listener()
    seconds = []
    for _ in range(3):
        model.learn(32, callback=[save, listener], reset_num_timesteps=model.num_timesteps == 0)
        seconds.append(read(save.directory / "completed.json")["seconds"])
    completed = read(save.directory / "completed.json")
    assert completed["episodes"] == len(listener.heard)
    assert completed["steps"] == completed["total_timesteps"] == 96
    assert completed["best_return"] == max(episode.episode_return for episode in listener.heard)
    assert seconds == sorted(seconds)
    assert names(save) == sorted([f"Steps_{4 * n}" for n in range(1, len(listener.heard) // 4 + 1)] + ["Steps_final"])


def test_a_state_goes_on_in_another_callback(tmp_path):
    model, first, listener = make_model(DDPG, make_env(tmp_path, DDPG)), saver(tmp_path, frequency=4), Listener()
    model.learn(48, callback=[first, listener])
    second = saver(tmp_path, frequency=4, force=True)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    model.learn(48, callback=[second, listener], reset_num_timesteps=False)
    completed, returns = read(second.directory / "completed.json"), [e.episode_return for e in listener.heard]
    assert completed["average_return"] == pytest.approx(np.mean(returns))
    assert completed["best_return"] == max(returns)
    assert completed["seconds"] > first.state_dict()["seconds"]
