import enum
import json

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import TQC
from stable_baselines3 import DDPG, PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecNormalize

from velora_sb3.callbacks.model_config import model_config, plain


class Colour(enum.Enum):
    RED = "red"


class Silent:
    pass


class Broken:
    def __repr__(self):
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (3, 3),
        (None, None),
        (True, True),
        (float("nan"), "nan"),
        (np.float32(0.5), 0.5),
        (np.arange(3), [0, 1, 2]),
        (np.zeros((100, 2)), "array of shape (100, 2)"),
        (torch.tensor([1.5]), [1.5]),
        (torch.device("cpu"), "cpu"),
        (Colour.RED, "red"),
        (torch.nn.ReLU, "ReLU"),
        (plain, "plain"),
        ({"net_arch": {"pi": (64, 64)}, 1: torch.nn.Tanh}, {"net_arch": {"pi": [64, 64]}, "1": "Tanh"}),
        (Silent(), "Silent"),
        (Broken(), "Broken"),
        (gym.spaces.Discrete(2), "Discrete(2)"),
    ],
)
def test_values_are_plain(value, told):
    assert plain(value) == told
    json.dumps(plain(value), allow_nan=False)


def test_ppo():
    model = PPO(
        "MlpPolicy",
        VecNormalize(make_vec_env("CartPole-v1", 2)),
        clip_range=0.1,
        learning_rate=LinearSchedule(1e-3, 1e-4, 1.0),
        policy_kwargs={"activation_fn": torch.nn.ReLU, "net_arch": [8]},
        seed=5,
        device="cpu",
    )
    config = model_config(model)
    assert (config["algorithm"], config["policy"], config["seed"]) == ("PPO", "ActorCriticPolicy", 5)
    assert config["hyperparameters"]["clip_range"] == 0.1
    assert config["hyperparameters"]["n_steps"] == 2048
    assert config["hyperparameters"]["learning_rate"] == "LinearSchedule(start=0.001, end=0.0001, end_fraction=1.0)"
    assert config["policy_kwargs"] == {"activation_fn": "ReLU", "net_arch": [8]}
    env = config["env"]
    assert (env["id"], env["n_envs"], env["vec_env"]) == ("CartPole-v1", 2, ["VecNormalize", "DummyVecEnv"])
    assert config["versions"]["gymnasium"] == gym.__version__
    assert json.loads(json.dumps(config, allow_nan=False)) == config


@pytest.mark.parametrize("algorithm", [DDPG, TQC])
def test_off_policy(algorithm):
    noise = NormalActionNoise(np.zeros(1), 0.1 * np.ones(1))
    model = algorithm("MlpPolicy", "Pendulum-v1", action_noise=noise, buffer_size=100, device="cpu")
    hyperparameters = model_config(model)["hyperparameters"]
    assert hyperparameters["action_noise"] == "NormalActionNoise(mu=[0.], sigma=[0.1])"
    assert hyperparameters["train_freq"] == [1, "step"]
    assert hyperparameters["buffer_size"] == 100
    assert hyperparameters["gradient_steps"] == model.gradient_steps
    assert not {"env", "policy", "seed", "policy_kwargs", "self", "args", "kwargs"} & set(hyperparameters)
