import pytest
import torch
from stable_baselines3 import DDPG

from velora_sb3.cli.errors import UserError
from velora_sb3.cli.experiment.build_model import build_model, check_device
from velora_sb3.cli.experiment.config import RunConfig
from velora_sb3.policies import LiquidTD3Policy


def config(algo="ddpg", env="Pendulum-v1", **kwargs):
    return RunConfig(algo, env, steps=10, seed=0, **kwargs)


def test_a_model_as_configured():
    model = build_model(
        config(n_envs=2, policy_kwargs={"units": 8}, hyperparams={"gamma": 0.9, "noise_type": "normal", "noise_std": 1})
    )
    assert type(model) is DDPG
    assert type(model.policy) is LiquidTD3Policy
    assert model.n_envs == 2
    assert model.gamma == 0.9
    assert model.seed == 0
    assert model.policy.actor.features_extractor.cell.state_size == 8


@pytest.mark.parametrize("name", ["tanh", "nn.Tanh", "torch.nn.Tanh"])
def test_activation_functions_have_names(name):
    model = build_model(config(policy="MlpPolicy", policy_kwargs={"activation_fn": name}))
    assert model.policy.activation_fn is torch.nn.Tanh


@pytest.mark.parametrize("name", ["AdamW", "torch.optim.AdamW"])
def test_optimizers_have_names(name):
    model = build_model(config(policy_kwargs={"units": 8, "optimizer_class": name}))
    assert type(model.actor.optimizer) is torch.optim.AdamW


def test_the_config_is_left_as_it_was():
    given = {"activation_fn": "ReLU", "net_arch": {"pi": [8], "qf": [8]}}
    made = config(policy_kwargs=given)
    build_model(made)
    assert made.policy_kwargs == {"activation_fn": "ReLU", "net_arch": {"pi": [8], "qf": [8]}}


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (config(algo="ddgp"), "unknown algorithm"),
        (config(env="Pendulm-v1"), "unknown env"),
        (config(env="CartPole-v1"), "DDPG does not support the action space of CartPole-v1"),
        (config(policy="MlpPolcy"), "unknown policy of DDPG 'MlpPolcy': did you mean 'MlpPolicy'"),
        (config(policy_kwargs={"unts": 3}), "has no argument 'unts'; did you mean 'units'"),
        (config(policy_kwargs={"units": -1}), "units must be an integer of at least 1, got -1"),
        (config(policy_kwargs={"cell": "rnn"}), "cell"),
        (config(policy_kwargs={"activation_fn": "tahn"}), "unknown activation_fn 'tahn': did you mean 'Tanh'"),
        (config(policy_kwargs={"net_arch": 5}), "net_arch must be a list"),
        (config(policy_kwargs={"net_arch": [64, "64"]}), "net_arch must be a list"),
        (config(policy_kwargs={"net_arch": {"pi": 64, "qf": [64]}}), "net_arch must be a list"),
        (config(policy_kwargs={"optimizer_class": "Adma"}), "unknown optimizer_class 'Adma': did you mean 'Adam'"),
        (config(policy_kwargs={"features_extractor_class": "my.Net"}), "features_extractor_class is a class"),
        (config(policy="MlpPolicy", policy_kwargs={"net_arc": 3}), "did you mean 'net_arch'"),
        (config(hyperparams={"gama": 1}), "unknown hyperparameter"),
        (config(hyperparams={"train_freq": [1, "epsode"]}), "unit of the `train_freq` must be"),
        (config(hyperparams={"train_freq": [1, "episode"]}, n_envs=2), "needs a single environment: omit --n-envs"),
        (config(device="nonsense"), "--device nonsense"),
        (config(device="meta"), "--device meta: .*; use auto, cpu or, with a GPU, cuda"),
        (config(algo="maskable_ppo", env="CartPole-v1"), "needs an environment with a method action_masks"),
        (config(algo="recurrent_maskable_ppo", env="CartPole-v1"), "needs an environment with a method action_masks"),
        (config(algo="ppo", env="Blackjack-v1"), "PPO on Blackjack-v1"),
        (config(algo="ppo", env="CartPole-v1", hyperparams={"n_steps": 1}), "must be greater than 1"),
    ],
)
def test_mistakes_are_told_before_training(made, said):
    with pytest.raises(UserError, match=said):
        build_model(made)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_not_silently_replaced():
    with pytest.raises(UserError, match="--device cuda"):
        check_device("cuda")
