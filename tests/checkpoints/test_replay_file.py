"""A replay buffer comes back from its file as it was."""

import gymnasium as gym
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from stable_baselines3 import PPO, SAC, HerReplayBuffer
from stable_baselines3.common.vec_env import DummyVecEnv

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


def with_hindsight():
    return small_model(
        BitFlips(n_bits=4, continuous=False, max_steps=5),
        policy="MultiInputPolicy",
        replay_buffer_class=HerReplayBuffer,
        replay_buffer_kwargs={"n_sampled_goal": 2},
    )


def test_hindsight(tmp_path):
    model, other = with_hindsight().learn(40), with_hindsight()
    load_replay_buffer(other, save_replay_buffer(model, tmp_path / "buffer"), truncate_last_traj=False)
    assert_equal(content(other), content(model))
    assert_equal(other.replay_buffer._current_ep_start, model.replay_buffer._current_ep_start)


def test_an_episode_that_was_running_ends_where_the_next_one_starts(tmp_path):
    model = with_hindsight().learn(42)
    start, position = model.replay_buffer._current_ep_start[0], model.replay_buffer.pos
    assert start < position  # it is running
    other, again = with_hindsight(), small_model("Pendulum-v1", n_steps=3)
    load_replay_buffer(other, save_replay_buffer(model, tmp_path / "hindsight"))
    assert_equal(other.replay_buffer.ep_length[start:position, 0], np.full(position - start, position - start))
    load_replay_buffer(again, save_replay_buffer(small_model("Pendulum-v1", n_steps=3).learn(40), tmp_path / "steps"))
    assert again.replay_buffer.dones[39] == again.replay_buffer.timeouts[39] == 1


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


class Pendulum(gym.Wrapper):
    """Pendulum with other spaces of the same shapes."""

    def __init__(self, action=2.0, speed=8.0):
        super().__init__(gym.make("Pendulum-v1"))
        self.action_space = gym.spaces.Box(-action, action, (1,))
        self.observation_space = gym.spaces.Box(-speed, speed, (3,))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: Pendulum(action=1.0), r"saved with actions in Box\(-2.0, .* but this model has actions in Box\(-1.0"),
        (lambda: Pendulum(speed=9.0), r"saved with observations in Box\(-8.0"),
        (lambda: DummyVecEnv([Pendulum] * 2), "saved with environments: 1, but this model has environments: 2"),
    ],
)
def test_a_buffer_of_other_environments(other, message, tmp_path):
    def make(env):
        small = {"policy_kwargs": {"net_arch": [4]}, "buffer_size": 60, "learning_starts": 10, "batch_size": 4}
        return SAC("MlpPolicy", env, seed=0, device="cpu", **small)

    path = save_replay_buffer(make(Pendulum()).learn(20), tmp_path / "buffer")
    with pytest.raises(CheckpointError, match=message):
        load_replay_buffer(make(other()), path)
    load_replay_buffer(same := make(Pendulum()), path)
    assert same.replay_buffer.size() == 20


def test_discrete_actions_of_another_number(tmp_path):
    path = save_replay_buffer(small_model(gym.make("CartPole-v1")).learn(20), tmp_path / "buffer")
    env = gym.make("CartPole-v1")
    env.action_space = gym.spaces.Discrete(3)
    with pytest.raises(
        CheckpointError, match=r"saved with actions in Discrete\(2\), but this model has actions in Discrete\(3\)"
    ):
        load_replay_buffer(small_model(env), path)


def test_a_failure_leaves_the_old_file(tmp_path, monkeypatch):
    model = small_model().learn(40)
    path = save_replay_buffer(model, tmp_path / "buffer")
    before = path.read_bytes()
    model.replay_buffer.rewards = model.replay_buffer.rewards.astype(np.longdouble)
    with pytest.raises(CheckpointError, match="cannot be stored"):
        save_replay_buffer(model, path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
