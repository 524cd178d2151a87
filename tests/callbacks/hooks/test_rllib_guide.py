"""What RLlib's guide to callbacks shows, on SB3."""

import numpy as np
import pytest
from safetensors.numpy import load_file
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import Image, Logger

from tests.callbacks.hooks.test_metrics_logger import Rows
from velora_sb3.callbacks import EpisodeCallback, LambdaCallback
from velora_sb3.checkpoints import load_replay_buffer, save_replay_buffer


class MeanTheta1(EpisodeCallback):
    """Acrobot's first angle, averaged over each episode."""

    def __init__(self):
        super().__init__()
        self.means = []

    def on_episode_start(self, *, episode, **kwargs):
        episode.custom_data["theta1"] = []

    def on_episode_step(self, *, episode, env, env_index, **kwargs):
        cosine, sine = episode.get_observations(-1)[:2]
        episode.custom_data["theta1"].append(float(np.arctan2(sine, cosine)))
        if not episode.is_done:
            theta1 = env.envs[env_index].unwrapped.state[0]
            assert episode.custom_data["theta1"][-1] == pytest.approx(theta1, abs=1e-5)

    def on_episode_end(self, *, episode, metrics_logger, **kwargs):
        assert len(episode.custom_data["theta1"]) == len(episode)
        self.means.append(float(np.mean(episode.custom_data["theta1"])))
        metrics_logger.log_value("angles/theta1_mean", self.means[-1], reduce="mean")


class Heat(EpisodeCallback):
    """Where CartPole's cart was and how the pole leant, over the rollout."""

    def __init__(self):
        super().__init__()
        self.heat = np.zeros((8, 8), np.uint8)

    def on_episode_step(self, *, episode, **kwargs):
        cart, _, pole, _ = episode.get_observations(-1)
        self.heat[int((cart + 2.4) / 4.8 * 7.99) % 8, int((pole + 0.3) / 0.6 * 7.99) % 8] += 1

    def on_sample_end(self, *, metrics_logger, samples, **kwargs):
        assert sum(len(episode) for episode in samples) >= self.heat.sum()
        metrics_logger.log_value("heat_map", Image(self.heat.copy(), "HW"))
        self.heat[:] = 0


def ppo(env="CartPole-v1", n_envs=1, rows=None, **settings):
    settings = {"n_steps": 64, "batch_size": 64, "n_epochs": 1, "seed": 0, "device": "cpu", **settings}
    model = PPO("MlpPolicy", make_vec_env(env, n_envs, seed=0), policy_kwargs={"net_arch": [4]}, **settings)
    if rows is not None:
        model.set_logger(Logger(None, [rows]))
    return model


def returns(model):
    return [info["r"] for info in model.ep_info_buffer]


def test_a_lambda_prints_the_return(capsys):
    model = ppo()
    model.learn(
        64,
        callback=LambdaCallback(on_episode_end=lambda episode, **kw: print(f"Episode done. R={episode.get_return()}")),
    )
    assert capsys.readouterr().out.splitlines() == [f"Episode done. R={value}" for value in returns(model)]
    assert returns(model)


def test_a_subclass_prints_the_return(capsys):
    class EpisodeReturn(EpisodeCallback):
        def on_episode_end(self, *, episode, **kwargs):
            print(f"Episode done. R={episode.get_return()}")

    model = ppo(n_envs=2)
    model.learn(128, callback=EpisodeReturn())
    assert capsys.readouterr().out.splitlines() == [f"Episode done. R={value}" for value in returns(model)]
    assert len(returns(model)) > 2


def test_the_replay_buffer_every_second_iteration(tmp_path):
    written = []

    def write_buffer_if_necessary(algorithm, metrics_logger, result):
        if result["training_iteration"] % 2 == 0:
            save_replay_buffer(algorithm, tmp_path / "replay_buffer.safetensors")
            written.append((result["training_iteration"], algorithm.replay_buffer.pos))

    settings = {"buffer_size": 100, "learning_starts": 8, "batch_size": 4, "policy_kwargs": {"net_arch": [4]}}
    model = DQN("MlpPolicy", "CartPole-v1", seed=0, device="cpu", **settings)
    model.learn(40, callback=LambdaCallback(on_train_result=write_buffer_if_necessary, timesteps_per_iteration=10))
    assert written == [(2, 24)]
    arrays = load_file(tmp_path / "replay_buffer.safetensors")
    np.testing.assert_array_equal(arrays["rewards"][:24], model.replay_buffer.rewards[:24])
    other = DQN("MlpPolicy", "CartPole-v1", seed=1, device="cpu", **settings)
    load_replay_buffer(other, tmp_path / "replay_buffer.safetensors")
    assert other.replay_buffer.pos == 24
    np.testing.assert_array_equal(other.replay_buffer.observations[:24], model.replay_buffer.observations[:24])


def test_the_mean_angle_of_acrobot_per_episode():
    rows, callback = Rows(), MeanTheta1()
    ppo("Acrobot-v1", n_envs=2, rows=rows, n_steps=512).learn(1024, callback=callback)
    name = "angles/theta1_mean"
    logged = [row[name] for row in rows.rows if name in row]
    assert len(callback.means) >= 2
    assert logged == [pytest.approx(np.mean(callback.means))]


def test_a_heat_map_as_a_picture():
    rows = Rows()
    ppo(rows=rows).learn(128, callback=Heat())
    pictures = [row["heat_map"] for row in rows.rows if "heat_map" in row]
    assert [type(picture) for picture in pictures] == [Image, Image]
    assert [int(picture.image.sum()) for picture in pictures] == [64, 64]


def test_numbers_in_a_result_are_logged():
    def add(result):
        result["mine"] = 10.0 * result["training_iteration"]
        result["not a number"] = "text"

    rows = Rows()
    ppo(rows=rows).learn(128, callback=LambdaCallback(on_train_result=add))
    assert [row["mine"] for row in rows.rows if "mine" in row] == [10.0, 20.0]
    assert not any("not a number" in row for row in rows.rows)


def test_what_was_logged_last_is_not_lost():
    rows = Rows()
    hook = LambdaCallback(on_train_result=lambda metrics_logger, result: metrics_logger.log_value("last", 1.0))
    ppo(rows=rows).learn(64, callback=hook)
    assert [row.get("last") for row in rows.rows] == [None, 1.0]
