import json

import gymnasium as gym
import numpy as np
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.callbacks import StopTrainingOnMaxEpisodes

from tests.metrics.short_episodes import ShortEpisodes
from velora_sb3.callbacks import EarlyStopping
from velora_sb3.callbacks.record_metrics import describe


def test_a_run():
    model = PPO("MlpPolicy", "CartPole-v1", seed=3, n_steps=64)
    about = describe(model, 1000, [EarlyStopping(100.0), StopTrainingOnMaxEpisodes(5)])
    assert (about.algorithm, about.env, about.env_name) == ("PPO", "CartPole-v1", "CartPole")
    assert (about.seed, about.total_timesteps) == (3, 1000)
    config = json.loads(about.config)
    early_stopping, other = config["callbacks"]
    assert early_stopping == {"name": "EarlyStopping", "settings": {"target": 100.0, "patience": 3, "window": 1}}
    assert other["name"] == "StopTrainingOnMaxEpisodes"
    assert (config["policy"]["name"], config["env"]["n_envs"]) == ("MlpPolicy", 1)
    assert config["hyperparameters"]["n_steps"] == 64
    assert json.loads(about.versions)["numpy"] == np.__version__


def test_no_id_and_no_seed():
    about = describe(SAC("MlpPolicy", gym.make("Pendulum-v1")), 10, [])
    assert about.seed is None
    about = describe(PPO("MlpPolicy", ShortEpisodes()), 10, [])
    assert (about.env, about.env_name) == ("ShortEpisodes", "ShortEpisodes")
