"""A replay buffer comes back from its file as it was."""

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from stable_baselines3 import PPO, HerReplayBuffer

from tests.checkpoints.conftest import small_model
from tests.checkpoints.runs import BitFlips, assert_equal
from velora_sb3.checkpoints import CheckpointError, load_replay_buffer, save_replay_buffer
from velora_sb3.checkpoints.state.replay_buffer import _storage


def content(model):
    buffer = model.replay_buffer
    rows = buffer.buffer_size if buffer.full else buffer.pos
    return {name: array[:rows] for name, array in _storage(buffer)}, buffer.pos, buffer.full


@pytest.mark.parametrize("steps", [40, 90], ids=["part", "full"])
def test_it_comes_back(steps, tmp_path):
    model, other = small_model().learn(steps), small_model()
    path = save_replay_buffer(model, tmp_path / "buffer.safetensors")
    assert path == tmp_path / "buffer.safetensors" and list(tmp_path.iterdir()) == [path]
    load_replay_buffer(other, path)
    assert_equal(content(other), content(model))


def test_hindsight(tmp_path):
    def make():
        settings = {"n_sampled_goal": 2}
        return small_model(
            BitFlips(n_bits=4, continuous=False, max_steps=5),
            policy="MultiInputPolicy",
            replay_buffer_class=HerReplayBuffer,
            replay_buffer_kwargs=settings,
        )

    model, other = make().learn(40), make()
    load_replay_buffer(other, save_replay_buffer(model, tmp_path / "buffer"))
    assert_equal(content(other), content(model))
    assert_equal(other.replay_buffer._current_ep_start, model.replay_buffer._current_ep_start)


def test_others_can_read_it(tmp_path):
    model = small_model().learn(40)
    with safe_open(save_replay_buffer(model, tmp_path / "buffer"), framework="np") as file:
        np.testing.assert_array_equal(file.get_tensor("actions")[:40], model.replay_buffer.actions[:40])


def test_no_replay_buffer(tmp_path):
    with pytest.raises(CheckpointError, match="PPO has no replay buffer: use an off-policy algorithm"):
        save_replay_buffer(PPO("MlpPolicy", "CartPole-v1", n_steps=8, batch_size=8, device="cpu"), tmp_path / "buffer")


def test_files_that_do_not_fit(tmp_path):
    (tmp_path / "text").write_text("no")
    save_file({"rewards": np.zeros(3)}, tmp_path / "foreign")
    save_replay_buffer(small_model("Pendulum-v1").learn(30), tmp_path / "pendulum")
    for name, message in (
        ("text", "not a saved replay buffer"),
        ("foreign", "not a saved replay buffer"),
        ("pendulum", "actions|observations"),
    ):
        with pytest.raises(CheckpointError, match=message) as error:
            load_replay_buffer(small_model(), tmp_path / name)
        assert str(tmp_path / name) in str(error.value)


def test_a_failure_leaves_the_old_file(tmp_path, monkeypatch):
    model = small_model().learn(40)
    path = save_replay_buffer(model, tmp_path / "buffer")
    before = path.read_bytes()
    model.replay_buffer.rewards = model.replay_buffer.rewards.astype(np.longdouble)
    with pytest.raises(CheckpointError, match="cannot be stored"):
        save_replay_buffer(model, path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
