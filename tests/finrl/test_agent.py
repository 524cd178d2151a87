import copy
from importlib.util import find_spec

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3 import DDPG, SAC
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise

from tests.finrl.markets import market
from velora_sb3.cli.algorithms import algorithms
from velora_sb3.finrl import MODELS, DRLAgent
from velora_sb3.policies import LiquidTD3Policy

SMALL = {"units": 4}


class Count(BaseCallback):
    def __init__(self):
        super().__init__()
        self.steps = 0

    def _on_step(self):
        self.steps += 1
        return True


class Discrete(gym.Wrapper):
    """Buys or sells everything."""

    def __init__(self, env):
        super().__init__(env)
        self.action_space = spaces.Discrete(2)

    def step(self, action):
        return self.env.step(np.full(2, 2.0 * action - 1))

    def action_masks(self):
        return np.array([True, True])


def test_models_are_those_of_the_command_line():
    assert algorithms() == MODELS


@pytest.mark.parametrize("name", MODELS)
def test_every_algorithm_by_name(name):
    discrete = any(word in name for word in ("dqn", "maskable"))
    agent = DRLAgent(Discrete(market()) if discrete else market())
    model = agent.get_model(name, policy_kwargs=SMALL, verbose=0, seed=0)
    assert type(model) is MODELS[name]
    assert type(model.policy) is type(model).policy_aliases["LiquidPolicy"]


def test_unknown_names():
    agent = DRLAgent(market())
    with pytest.raises(ValueError, match="unknown model_name 'recurent_sac': did you mean 'recurrent_sac'"):
        agent.get_model("recurent_sac")
    with pytest.raises(ValueError, match="action_noise must be one of 'normal', 'ornstein_uhlenbeck', got 'gauss'"):
        agent.get_model("ddpg", model_kwargs={"action_noise": "gauss"})
    with pytest.raises(ValueError, match="needs a Box action space"):
        DRLAgent(Discrete(market())).get_model("dqn", model_kwargs={"action_noise": "normal"})


@pytest.mark.parametrize(
    ("name", "kind"), [("normal", NormalActionNoise), ("ornstein_uhlenbeck", OrnsteinUhlenbeckActionNoise)]
)
def test_action_noise_by_name_and_dicts_left_alone(name, kind):
    model_kwargs = {"action_noise": name, "buffer_size": 100}
    policy_kwargs = {"units": 4, "optimizer_kwargs": {"eps": 1e-6}}
    before = copy.deepcopy([model_kwargs, policy_kwargs])
    agent = DRLAgent(market())
    for _ in range(2):  # the same dict serves twice
        model = agent.get_model("sac", policy_kwargs=policy_kwargs, model_kwargs=model_kwargs, verbose=0)
        assert isinstance(model.action_noise, kind)
        noise = [model.action_noise() for _ in range(2000)]
        assert model.action_noise._sigma.tolist() == [0.1, 0.1]
        assert np.shape(noise) == (2000, 2)
    assert [model_kwargs, policy_kwargs] == before


def test_model_kwargs_count_before_the_other_arguments():
    agent = DRLAgent(market())
    model = agent.get_model(
        "ppo", policy_kwargs=SMALL, model_kwargs={"verbose": 2, "seed": 7, "n_steps": 8, "batch_size": 4}, verbose=0
    )
    assert (model.verbose, model.seed, model.n_steps) == (2, 7, 8)


def test_the_liquid_policy_is_the_default_and_others_work():
    agent = DRLAgent(market())
    assert isinstance(agent.get_model("ddpg", verbose=0).policy, LiquidTD3Policy)
    assert agent.get_model("sac", policy="MlpPolicy", verbose=0).policy_class is SAC.policy_aliases["MlpPolicy"]


def test_vectorized_environments():
    env, _ = market().get_sb_env()
    model = DRLAgent(env).get_model("ddpg", model_kwargs={"action_noise": "normal"}, verbose=0)
    assert isinstance(model, DDPG)
    assert model.get_env() is env


@pytest.mark.parametrize("shape", ["one", "list", "tuple", "CallbackList", "function", "none", "empty"])
def test_callbacks_of_any_shape(shape):
    count, calls = Count(), []

    def function(locals_, globals_):
        calls.append(1)
        return True

    callbacks = {
        "one": count,
        "list": [count],
        "tuple": (count,),
        "CallbackList": CallbackList([count]),
        "function": function,
        "none": None,
        "empty": [],
    }[shape]
    model = DRLAgent(market()).get_model("ppo", "MlpPolicy", model_kwargs={"n_steps": 4, "batch_size": 4}, verbose=0)
    trained = DRLAgent.train_model(model=model, tb_log_name="x", total_timesteps=8, callbacks=callbacks)
    assert trained is model
    assert model.num_timesteps == 8
    assert (count.steps, len(calls)) == {"none": (0, 0), "empty": (0, 0), "function": (0, 8)}.get(shape, (8, 0))


def test_training_goes_on():
    model = DRLAgent(market()).get_model("a2c", policy_kwargs=SMALL, verbose=0)
    DRLAgent.train_model(model, "x", 10)
    DRLAgent.train_model(model, "x", 10, reset_num_timesteps=False)
    assert model.num_timesteps == 20


@pytest.mark.skipif(find_spec("tensorboard") is not None, reason="tensorboard is here")
def test_tensorboard_is_asked_for_before_training(tmp_path):
    with pytest.raises(ImportError, match="pip install tensorboard"):
        DRLAgent(market()).get_model("ppo", tensorboard_log=tmp_path)


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="tensorboard is not installed; tox -e extras has it")
def test_tensorboard_gets_the_run(tmp_path):
    model = DRLAgent(market()).get_model("a2c", policy_kwargs=SMALL, tensorboard_log=tmp_path, verbose=0)
    DRLAgent.train_model(model, "trading", 10)
    assert list(tmp_path.glob("trading_1/events.*"))


def test_arguments_that_the_algorithm_does_not_take():
    agent = DRLAgent(gym.make("CartPole-v1"))
    with pytest.raises(TypeError, match="ppo has no argument n_step; its arguments are .*n_steps"):
        agent.get_model("ppo", model_kwargs={"n_step": 3})
    with pytest.raises(TypeError, match="model_kwargs must be a dict of arguments of ppo, got"):
        agent.get_model("ppo", model_kwargs=[1])
