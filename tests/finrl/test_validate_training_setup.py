import random

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize

from tests.finrl.markets import market
from velora_sb3.finrl import DRLAgent, validate_training_setup


class Broken(gym.Wrapper):
    """Something is not finite from the fifth step on."""

    def __init__(self, env, what):
        super().__init__(env)
        self.what, self.steps = what, 0

    def step(self, action):
        observation, reward, *rest = self.env.step(action)
        self.steps += 1
        if self.steps >= 5:
            if self.what == "reward":
                reward = float("nan")
            else:
                observation = np.full_like(observation, np.inf)
        return observation, reward, *rest


def build(env, name="a2c", **settings):
    return DRLAgent(env).get_model(name, policy_kwargs={"units": 4}, verbose=0, seed=0, **settings)


OFF = {"learning_starts": 10, "batch_size": 2, "buffer_size": 200}


@pytest.mark.parametrize(
    ("name", "kwargs"), [("a2c", {}), ("recurrent_sac", OFF), ("recurrent_ppo", {"n_steps": 20, "batch_size": 20})]
)
@pytest.mark.parametrize("outer", [lambda env: env, VecMonitor], ids=["alone", "monitored"])
def test_the_model_stays_as_it_was(name, kwargs, outer):
    model = build(outer(VecNormalize(DummyVecEnv([market]))), name, model_kwargs=kwargs)
    model.learn(20)
    weights = {key: value.clone() for key, value in model.policy.state_dict().items()}
    count = model.get_vec_normalize_env().obs_rms.count
    generators = random.random(), np.random.rand(), torch.rand(1)
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    assert validate_training_setup(model, n_test_steps=30) is True
    assert generators
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == states
    assert all(torch.equal(weights[key], value) for key, value in model.policy.state_dict().items())
    assert (model.num_timesteps, model.get_vec_normalize_env().obs_rms.count) == (20, count)
    model.learn(20, reset_num_timesteps=False)
    assert model.num_timesteps == 40


@pytest.mark.parametrize("what", ["reward", "observation"])
def test_what_is_not_finite_is_found(what):
    model = build(market())
    with pytest.raises(ValueError, match=f"step 5: {what} is NaN or infinite: check prices"):
        validate_training_setup(model, Broken(market(), what), n_test_steps=10)


def test_weights_that_diverge_are_found():
    model = build(VecNormalize(DummyVecEnv([market])), model_kwargs={"learning_rate": 1e38, "max_grad_norm": 1e38})
    with pytest.raises(ValueError, match="nan|not finite"):
        validate_training_setup(model, n_test_steps=50)


def test_it_needs_an_environment(tmp_path):
    model = build(market())
    model.save(tmp_path / "model")
    with pytest.raises(ValueError, match="pass env"):
        validate_training_setup(type(model).load(tmp_path / "model"))
