import numpy as np
import pytest
from stable_baselines3 import DDPG, DQN, PPO, SAC
from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise

from velora_sb3.cli.algorithms import algorithms, find_algorithm
from velora_sb3.cli.errors import UserError
from velora_sb3.cli.experiment.hyperparameters import constructor_arguments


def test_plain_values_pass_through():
    given = {"learning_rate": 0.001, "gamma": 1, "ent_coef": "auto_0.1", "use_sde": True, "tensorboard_log": None}
    assert constructor_arguments(SAC, given, (1,)) == given


def test_whole_floats_become_integers_and_lists_tuples():
    arguments = constructor_arguments(DDPG, {"buffer_size": 1e5, "train_freq": [2, "episode"]}, (1,))
    assert arguments == {"buffer_size": 100_000, "train_freq": (2, "episode")}
    assert isinstance(arguments["buffer_size"], int)


def test_linear_schedules():
    arguments = constructor_arguments(PPO, {"learning_rate": "lin_0.001", "clip_range": "lin_0.2"}, None)
    assert [arguments["learning_rate"](left) for left in (1.0, 0.5, 0.0)] == pytest.approx([0.001, 0.0005, 0.0])
    assert arguments["clip_range"](0.5) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("kind", "noise"), [("normal", NormalActionNoise), ("ornstein-uhlenbeck", OrnsteinUhlenbeckActionNoise)]
)
def test_action_noise(kind, noise):
    arguments = constructor_arguments(DDPG, {"noise_type": kind, "noise_std": 0.2}, (2,))
    assert list(arguments) == ["action_noise"]
    assert type(arguments["action_noise"]) is noise
    np.testing.assert_array_equal(arguments["action_noise"]._sigma, [0.2, 0.2])


@pytest.mark.parametrize(
    ("algorithm", "given", "said"),
    [
        (PPO, {"gama": 1}, "unknown hyperparameter of PPO 'gama': did you mean 'gamma'"),
        (PPO, {"gamma": 1.5}, "gamma must be between 0 and 1, got 1.5"),
        (PPO, {"gamma": True}, "gamma must be a number, got True"),
        (PPO, {"n_steps": 1.5}, "n_steps must be an integer, got 1.5"),
        (PPO, {"n_steps": 0}, "n_steps must be above 0"),
        (PPO, {"learning_rate": "fast"}, "learning_rate must be a number or a schedule such as 'lin_0.001'"),
        (PPO, {"learning_rate": "lin_"}, "expected a number after 'lin_'"),
        (PPO, {"learning_rate": "lin_-1"}, "learning_rate must be above 0"),
        (PPO, {"use_sde": "yes"}, "use_sde must be true or false"),
        (PPO, {"n_envs": 4}, "n_envs is not a hyperparameter: set it with --n-envs"),
        (PPO, {"n_timesteps": 4}, "--steps"),
        (PPO, {"_init_setup_model": False}, "unknown hyperparameter"),
        (DQN, {"noise_type": "normal", "noise_std": 1}, "unknown hyperparameter of DQN 'noise_type'"),
        (DDPG, {"action_noise": 1}, "unknown hyperparameter of DDPG 'action_noise'"),
        (DDPG, {"noise_type": "normal"}, "must be given together"),
        (DDPG, {"noise_type": "uniform", "noise_std": 1}, "choose from normal, ornstein-uhlenbeck"),
        (DDPG, {"noise_type": ["normal"], "noise_std": 1}, "choose from normal, ornstein-uhlenbeck"),
        (DDPG, {"noise_type": "normal", "noise_std": -1}, "noise_std must be a finite number, at least 0, got -1"),
        (DDPG, {"noise_type": "normal", "noise_std": float("inf")}, "noise_std must be a finite number"),
        (DDPG, {"train_freq": [0, "episode"]}, "train_freq must be above 0, got 0"),
        (DDPG, {"train_freq": [1]}, r"train_freq must be an integer or \[an integer, a string\]"),
    ],
)
def test_mistakes(algorithm, given, said):
    with pytest.raises(UserError, match=said):
        constructor_arguments(algorithm, given, (1,))


def test_noise_is_for_continuous_actions():
    with pytest.raises(UserError, match="continuous"):
        constructor_arguments(DDPG, {"noise_type": "normal", "noise_std": 1}, None)


@pytest.mark.parametrize("algorithm", algorithms().values(), ids=list(algorithms()))
def test_every_algorithm_has_readable_arguments(algorithm):
    assert constructor_arguments(algorithm, {"learning_rate": 0.001}, (1,))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_none(value):
    with pytest.raises(UserError, match="hyperparameter ent_coef must be a finite number"):
        constructor_arguments(PPO, {"ent_coef": value}, None)


@pytest.mark.parametrize("value", ["auto", "auto_0.1", "0.1", 0.1])
def test_an_automatic_coefficient(value):
    assert constructor_arguments(SAC, {"ent_coef": value}, (1,)) == {"ent_coef": value}


@pytest.mark.parametrize("name", ["ppo", "recurrent_ppo", "recurrent_maskable_ppo", "ppo_lstm", "a2c"])
@pytest.mark.parametrize(("key", "value"), [("ent_coef", "auto"), ("n_steps", "many"), ("gamma", [0.9])])
def test_types_of_every_on_policy_algorithm(name, key, value):
    with pytest.raises(UserError, match=f"hyperparameter {key} must be an? (number|integer), got "):
        constructor_arguments(find_algorithm(name)[1], {key: value}, None)


@pytest.mark.parametrize("value", ["atuo", "automatic", "auto_x", "auto_"])
def test_a_misspelt_automatic_coefficient(value):
    with pytest.raises(UserError, match=f"ent_coef must be a number, 'auto' or, .* 'auto_0.1', got '{value}'"):
        constructor_arguments(SAC, {"ent_coef": value}, (1,))
    with pytest.raises(UserError, match=f"target_entropy must be a number, or 'auto', got '{value}'"):
        constructor_arguments(SAC, {"target_entropy": value}, (1,))
