import random

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

from velora_sb3.callbacks.base.preserve_rng import preserve_rng


def draws():
    return random.random(), float(np.random.rand()), float(torch.rand(1))


@pytest.mark.parametrize("error", [None, RuntimeError])
def test_generators_go_on_as_if_nothing_had_been_drawn(error):
    model = PPO("MlpPolicy", "CartPole-v1", seed=0, device="cpu")
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    expected = draws()
    random.setstate(states[0]), np.random.set_state(states[1]), torch.set_rng_state(states[2])
    try:
        with preserve_rng(model):
            assert draws() == expected
            random.seed(5), np.random.seed(5), torch.manual_seed(5)
            if error is not None:
                raise error
    except RuntimeError:
        assert error is not None
    assert draws() == expected


@pytest.mark.parametrize("mode", [True, False])
def test_the_policy_gets_its_mode_back(mode):
    model = PPO("MlpPolicy", "CartPole-v1", device="cpu")
    model.policy.set_training_mode(mode)
    with preserve_rng(model):
        model.predict(model.observation_space.sample())
    assert {module.training for module in model.policy.modules()} == {mode}
