"""What RLlib's guide to callbacks shows, from one class in SB3 and in RLlib."""

import gymnasium as gym
import numpy as np
import ormsgpack
import pytest
import stable_baselines3 as sb3
from ray import cloudpickle
from ray.rllib.algorithms.dqn import DQNConfig
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.callbacks.callbacks import RLlibCallback
from safetensors.numpy import load_file
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import Logger

from tests.callbacks.hooks.test_metrics_logger import Rows
from tests.callbacks.hooks.test_rllib_guide import Heat, MeanTheta1
from velora_sb3.callbacks import EpisodeCallback, LambdaCallback
from velora_sb3.checkpoints import save_replay_buffer
from velora_sb3.rllib import as_rllib

pytestmark = [
    pytest.mark.usefixtures("ray_here"),
    pytest.mark.filterwarnings("default"),  # RLlib's own
]


def train_rllib(callbacks, env="CartPole-v1", iterations=2, n_envs=2, batch=64):
    config = (
        PPOConfig()
        .environment(env)
        .env_runners(num_env_runners=0, num_envs_per_env_runner=n_envs)
        .training(train_batch_size_per_learner=batch, minibatch_size=batch, num_epochs=1)
        .rl_module(model_config={"fcnet_hiddens": [4]})
        .callbacks(callbacks)
        .debugging(seed=0, log_level="ERROR")
    )
    algorithm = config.build_algo()
    try:
        return [algorithm.train() for _ in range(iterations)]
    finally:
        algorithm.stop()


def train_sb3(callbacks, env="CartPole-v1", iterations=2, n_envs=2, batch=64):
    rows, settings = Rows(), {"n_steps": batch // n_envs, "batch_size": batch, "n_epochs": 1, "seed": 0}
    model = sb3.PPO(
        "MlpPolicy", make_vec_env(env, n_envs, seed=0), policy_kwargs={"net_arch": [4]}, device="cpu", **settings
    )
    model.set_logger(Logger(None, [rows]))
    model.learn(batch * iterations, callback=callbacks)
    return rows.rows


class EpisodeReturn(EpisodeCallback):
    """The guide's first example, which also checks what an episode says of itself."""

    def on_episode_end(self, *, episode, env_runner, **kwargs):
        assert len(episode) == episode.get_return()  # CartPole's reward is 1, also where RLlib has cut the episode
        assert episode.is_done
        assert not env_runner.config.in_evaluation
        print(f"Episode done. R={episode.get_return()}")


def test_a_subclass_prints_the_return(capsys):
    train_sb3(EpisodeReturn())
    assert capsys.readouterr().out.startswith("Episode done. R=")
    train_rllib(as_rllib(EpisodeReturn()), iterations=3)
    printed = [float(line.partition("R=")[2]) for line in capsys.readouterr().out.splitlines() if "R=" in line]
    assert printed
    assert all(value >= 8 for value in printed)  # no CartPole falls before: each return is of a whole episode


def test_lambdas_come_after_subclasses_and_in_order(capsys):
    class Mine(EpisodeCallback):
        def on_train_result(self, *, result, **kwargs):
            print("subclass", result["training_iteration"])

    functions = LambdaCallback(on_train_result=[lambda: print("first"), lambda result: print("second")])
    train_rllib(as_rllib(functions, Mine()), iterations=1)
    ours = [
        line for line in capsys.readouterr().out.splitlines() if line.split(" ")[0] in ("subclass", "first", "second")
    ]
    assert ours == ["subclass 1", "first", "second"]


def test_the_mean_angle_of_acrobot_per_episode():
    gym.register("ShortAcrobot-v1", "gymnasium.envs.classic_control.acrobot:AcrobotEnv", max_episode_steps=40)
    both = MeanTheta1()
    rows = train_sb3(both, "ShortAcrobot-v1", iterations=2)
    assert [row["angles/theta1_mean"] for row in rows if "angles/theta1_mean" in row] == [
        pytest.approx(np.mean(both.means))
    ]
    both.means.clear()
    results = train_rllib(as_rllib(both), "ShortAcrobot-v1", iterations=2)
    assert len(both.means) == 2  # cut after 32 steps each, and whole for the hooks
    assert results[-1]["env_runners"]["angles"]["theta1_mean"] == pytest.approx(np.mean(both.means))


def test_a_heat_map_as_a_picture():
    pictures = [row["heat_map"].image for row in train_sb3(Heat()) if "heat_map" in row]
    assert [int(picture.sum()) for picture in pictures] == [64, 64]
    pictures = [result["env_runners"]["heat_map"] for result in train_rllib(as_rllib(Heat()))]
    steps = [int(np.asarray(picture).sum()) for picture in pictures]
    assert len(steps) == 2
    assert set(steps) <= {64, 65}  # both environments step at once, and a reset is no step


class DumpBuffer(EpisodeCallback):
    """The replay buffer in a file, every second iteration."""

    def __init__(self, path, **settings):
        super().__init__(**settings)
        self.path, self.iterations = path, []

    def on_train_result(self, *, algorithm, result, **kwargs):
        if result["training_iteration"] % 2 == 0:
            self.iterations.append(result["training_iteration"])
            if isinstance(algorithm, sb3.DQN):
                save_replay_buffer(algorithm, self.path)
            else:
                contents = algorithm.local_replay_buffer.get_state()
                self.path.write_bytes(ormsgpack.packb(contents, option=ormsgpack.OPT_SERIALIZE_NUMPY))


def test_the_replay_buffer_every_second_iteration(tmp_path):
    dump = DumpBuffer(tmp_path / "sb3.safetensors", timesteps_per_iteration=10)
    settings = {"buffer_size": 100, "learning_starts": 8, "batch_size": 4, "policy_kwargs": {"net_arch": [4]}}
    sb3.DQN("MlpPolicy", "CartPole-v1", seed=0, device="cpu", **settings).learn(40, callback=dump)
    assert dump.iterations == [2]
    assert load_file(dump.path)["rewards"][:24].sum() == 24

    dump = DumpBuffer(tmp_path / "rllib.msgpack")
    config = (
        DQNConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=0)
        .training(num_steps_sampled_before_learning_starts=1000)
        .reporting(min_sample_timesteps_per_iteration=8)
        .rl_module(model_config={"fcnet_hiddens": [4]})
        .callbacks(as_rllib(dump))
        .debugging(log_level="ERROR")
    )
    algorithm = config.build_algo()
    try:
        for _ in range(2):
            algorithm.train()
    finally:
        algorithm.stop()
    assert dump.iterations == [2]
    assert "episodes" in ormsgpack.unpackb(dump.path.read_bytes())


def test_it_is_a_callback_of_rllib_and_refuses_what_rllib_lacks():
    made = as_rllib(EpisodeReturn())
    assert issubclass(made, RLlibCallback)
    assert made.__name__ == "EpisodeReturn"
    assert issubclass(cloudpickle.loads(cloudpickle.dumps(made)), RLlibCallback)  # as it reaches environment runners
    with pytest.raises(TypeError, match="on_episode_end .* requires algorithm, which RLlib does not pass"):
        as_rllib(LambdaCallback(on_episode_end=lambda episode, algorithm: None))
    with pytest.raises(TypeError, match="on_evaluate_end .* requires evaluation"):
        as_rllib(LambdaCallback(on_evaluate_end=lambda evaluation: None))
    with pytest.raises(TypeError, match="takes an EpisodeCallback or a LambdaCallback, got 3"):
        as_rllib(3)
    with pytest.raises(TypeError, match="at least one"):
        as_rllib()
