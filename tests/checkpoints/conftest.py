"""A small model, trained a little, and its checkpoint."""

import pytest
from stable_baselines3 import DQN, SAC

from velora_sb3 import save_checkpoint


def small_model(env="CartPole-v1", policy="MlpPolicy", **settings):
    """A model that trains in a moment."""
    small = {"policy_kwargs": {"net_arch": [4]}, "buffer_size": 60, "learning_starts": 10, "batch_size": 4, **settings}
    algorithm = SAC if env == "Pendulum-v1" else DQN
    return algorithm(policy, env, seed=0, device="cpu", **small)


@pytest.fixture(scope="session")
def model():
    return small_model().learn(40)


@pytest.fixture(scope="session")
def original(model, tmp_path_factory):
    """A checkpoint that no test may change."""
    return save_checkpoint(model, tmp_path_factory.mktemp("original") / "checkpoint")
