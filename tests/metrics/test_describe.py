import json

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import DDPG, PPO, SAC
from stable_baselines3.common.callbacks import StopTrainingOnMaxEpisodes
from stable_baselines3.common.noise import NormalActionNoise

from tests.metrics.short_episodes import ShortEpisodes
from velora_sb3.algorithms import RecurrentSAC
from velora_sb3.callbacks import EarlyStopping
from velora_sb3.metrics.describe import describe, settings


def test_a_run():
    model = PPO("MlpPolicy", "CartPole-v1", seed=3, n_steps=64)
    about = describe(model, 1000, [EarlyStopping(100.0), StopTrainingOnMaxEpisodes(5)])
    assert (about.algorithm, about.env, about.env_name) == ("PPO", "CartPole-v1", "CartPole")
    assert (about.seed, about.total_timesteps) == (3, 1000)
    config = json.loads(about.config)
    assert config["callbacks"] == [
        {"name": "EarlyStopping", "settings": {"target": 100.0, "patience": 3, "window": 1}},
        {"name": "StopTrainingOnMaxEpisodes"},
    ]
    assert (config["policy"], config["n_envs"], config["n_steps"]) == ("ActorCriticPolicy", 1, 64)
    assert json.loads(about.versions)["numpy"] == np.__version__


def test_no_id_and_no_seed():
    about = describe(SAC("MlpPolicy", gym.make("Pendulum-v1")), 10, [])
    assert about.seed is None
    about = describe(PPO("MlpPolicy", ShortEpisodes()), 10, [])
    assert (about.env, about.env_name) == ("ShortEpisodes", "ShortEpisodes")


def test_settings_are_json_without_addresses():
    model = DDPG(
        "MlpPolicy",
        "Pendulum-v1",
        learning_rate=lambda progress: 1e-3 * progress,
        action_noise=NormalActionNoise(np.zeros(1), np.ones(1)),
        policy_kwargs={"activation_fn": torch.nn.Tanh, "net_arch": [8, np.int64(4)], "optimizer_kwargs": {"eps": 1e-5}},
        device="cpu",
    )
    told = settings(model)
    assert json.loads(json.dumps(told)) == told
    assert told["policy_kwargs"]["activation_fn"] == "Tanh"
    assert told["policy_kwargs"]["net_arch"] == [8, 4]
    assert told["policy_kwargs"]["optimizer_kwargs"] == {"eps": 1e-5}
    assert told["action_noise"] == "NormalActionNoise(mu=[0.], sigma=[1.])"
    assert told["learning_rate"].endswith("<lambda>")
    assert (told["device"], told["train_freq"], told["tau"]) == ("cpu", [1, "step"], 0.005)
    assert " at 0x" not in json.dumps(told)
    assert not {"env", "policy", "seed", "self", "verbose"} & set(told)


def test_settings_of_a_class_that_hands_its_arguments_on():
    told = settings(RecurrentSAC("LiquidPolicy", "Pendulum-v1", gamma=0.5, buffer_size=100))
    assert (told["gamma"], told["buffer_size"]) == (0.5, 100)
