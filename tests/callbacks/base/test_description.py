import json
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
import torch
from sb3_contrib import ARS, TQC
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC
from stable_baselines3.common.callbacks import EveryNTimesteps
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.utils import LinearSchedule

from tests.callbacks.runs import ALGORITHMS, Listener, make_env, make_model
from velora_sb3.callbacks import EarlyStopping
from velora_sb3.callbacks.base.description import as_json, describe_run, hyperparameters


class Colour(Enum):
    RED = "red"


class Schedule:
    def __call__(self, progress):
        return progress


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (np.bool_(True), True),
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (float("inf"), "inf"),
        (np.float64("nan"), "nan"),
        (Path("a"), "a"),
        (Colour.RED, "red"),
        (torch.nn.Tanh, "torch.nn.modules.activation.Tanh"),
        ({"pi": (1, 2), 3: [np.array([1.0, 2.0])]}, {"pi": [1, 2], "3": [[1.0, 2.0]]}),
        (torch.tensor([1.5], requires_grad=True), [1.5]),
        (torch.float32, "torch.float32"),
        (LinearSchedule(1.0, 0.5, 0.1), "LinearSchedule(start=1.0, end=0.5, end_fraction=0.1)"),
        (Schedule(), "<tests.callbacks.base.test_description.Schedule object>"),
        (Schedule().__call__.__func__, "<function Schedule.__call__>"),
        ({1}, "{1}"),
        (NormalActionNoise(np.zeros(1), np.full(1, 0.1)), "NormalActionNoise(mu=[0.], sigma=[0.1])"),
    ],
)
def test_values_in_jsons_words(value, expected):
    assert as_json(value) == expected
    assert json.loads(json.dumps(as_json(value), allow_nan=False)) == expected


def test_what_is_long_is_cut():
    assert len(as_json(np.zeros(5000))) <= 1000
    assert as_json(np.zeros(1000)) == [0.0] * 1000


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_hyperparameters_build_the_model_again(algorithm, tmp_path):
    model = make_model(algorithm, make_env(tmp_path, algorithm), gamma=0.9, learning_rate=2e-3)
    found = hyperparameters(model)
    assert (found["gamma"], found["learning_rate"], found["batch_size"]) == (0.9, 2e-3, model.batch_size)
    plain = {name: value for name, value in found.items() if not isinstance(value, str) or value == "auto"}
    if "train_freq" in plain:
        plain["train_freq"] = tuple(plain["train_freq"])  # JSON knows lists only
    again = make_model(algorithm, make_env(tmp_path, algorithm), **plain)
    assert hyperparameters(again) == found


@pytest.mark.parametrize(("algorithm", "names"), [
    (PPO, {"clip_range": 0.3, "n_epochs": 1}),
    (SAC, {"ent_coef": "auto", "train_freq": [1, "step"]}),
    (DQN, {"exploration_fraction": 0.1, "target_update_interval": 10_000}),
])  # fmt: skip
def test_settings_by_the_constructors_names(algorithm, names, tmp_path):
    settings = {"clip_range": 0.3} if algorithm is PPO else {}
    found = hyperparameters(make_model(algorithm, make_env(tmp_path, algorithm), **settings))
    assert {name: found[name] for name in names} == names


def test_schedules_are_described(tmp_path):
    model = make_model(PPO, make_env(tmp_path), learning_rate=Schedule(), clip_range=Schedule())
    found = hyperparameters(model)
    assert found["learning_rate"] == found["clip_range"] == "<tests.callbacks.base.test_description.Schedule object>"


@pytest.mark.parametrize("algorithm", [A2C, ARS, TQC])
def test_other_algorithms(algorithm):
    policy = "LinearPolicy" if algorithm is ARS else "MlpPolicy"
    model = algorithm(policy, "Pendulum-v1", seed=3)
    description = describe_run(model, [])
    assert description["algorithm"]["name"] == algorithm.__name__
    assert description["policy"]["name"] == policy
    assert description["seed"] == 3
    assert json.loads(json.dumps(description, allow_nan=False)) == description


def test_a_whole_run(tmp_path):
    env = make_env(tmp_path, DDPG, 2, normalize=True)
    model = make_model(DDPG, env, policy_kwargs={"net_arch": [4], "activation_fn": torch.nn.Tanh})
    every = EveryNTimesteps(1, Listener())
    model.learn(4, callback=[stop := EarlyStopping(3.0), every])
    description = describe_run(model, stop.siblings())
    assert description["algorithm"] == {"name": "DDPG", "class": "stable_baselines3.ddpg.ddpg.DDPG"}
    assert description["env"] == {
        "name": "Steps",
        "id": None,
        "n_envs": 2,
        "vectorized": [
            "stable_baselines3.common.vec_env.vec_normalize.VecNormalize",
            "stable_baselines3.common.vec_env.dummy_vec_env.DummyVecEnv",
        ],
        "wrapped": "<Record<Steps instance>>",
        "observation_space": "Box(-1.0, 1.0, (3,), float32)",
        "action_space": "Box(-1.0, 1.0, (1,), float32)",
    }
    assert description["policy"] == {"name": "MlpPolicy", "class": "stable_baselines3.td3.policies.TD3Policy"}
    assert description["policy_kwargs"]["activation_fn"] == "torch.nn.modules.activation.Tanh"
    assert description["total_timesteps"] == 4
    assert description["callbacks"] == [
        {"name": "EarlyStopping", "settings": {"target": 3.0, "patience": 3, "window": 1}},
        {"name": "EveryNTimesteps", "class": "stable_baselines3.common.callbacks.EveryNTimesteps"},
        {"name": "Listener", "settings": {}},
    ]
    assert json.loads(json.dumps(description, allow_nan=False)) == description
