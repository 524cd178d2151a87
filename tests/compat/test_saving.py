"""What is saved acts as it did, to the last bit; two runs with one seed are one run."""

import numpy as np
import pytest
import torch
from ncps.wirings import AutoNCP

from tests.compat.algorithms import ALGORITHMS, make_env, make_model, parameters, train

WIRED = {"wiring": "ncp", "wiring_seed": 7, "units": 12}


@pytest.fixture(params=ALGORITHMS, ids=lambda algorithm: algorithm.__name__)
def model(request):
    return train(make_model(request.param, policy_kwargs=WIRED))


@pytest.fixture
def observations(model):
    model.observation_space.seed(0)
    return np.stack([model.observation_space.sample() for _ in range(5)])


def actions(model, observations):
    return model.predict(observations, deterministic=True)[0]


def test_model_save_and_load(model, observations, tmp_path):
    model.save(tmp_path / "model")
    loaded = type(model).load(tmp_path / "model")
    assert np.array_equal(actions(loaded, observations), actions(model, observations))
    loaded.set_env(make_env(type(model)))
    train(loaded)


def test_policy_save_and_load(model, observations, tmp_path):
    model.policy.save(tmp_path / "policy")
    loaded = type(model.policy).load(tmp_path / "policy")
    assert np.array_equal(actions(loaded, observations), actions(model, observations))


def test_set_parameters(model, observations):
    other = make_model(type(model), policy_kwargs=WIRED, seed=1)
    other.set_parameters(model.get_parameters(), exact_match=True)
    assert np.array_equal(actions(other, observations), actions(model, observations))


def test_a_live_wiring_is_saved_with_the_model(tmp_path):
    for algorithm in ALGORITHMS:
        model = make_model(algorithm, policy_kwargs={"wiring": AutoNCP(12, 3, seed=5)})
        model.save(tmp_path / "model")
        loaded = algorithm.load(tmp_path / "model")
        observation = np.zeros((1, 4), dtype=np.float32)
        assert np.array_equal(actions(loaded, observation), actions(model, observation))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_two_runs_with_one_seed_are_equal(algorithm):
    first, second = (parameters(train(make_model(algorithm, seed=3))) for _ in range(2))
    for name, values in first.items():
        assert torch.equal(values, second[name]), name
    third = parameters(train(make_model(algorithm, seed=4)))
    assert any(not torch.equal(values, third[name]) for name, values in first.items())


def separate(algorithm):
    return "share_features_extractor" in algorithm.policy_aliases["LiquidPolicy"]._accepted_arguments()


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("algorithm", [algorithm for algorithm in ALGORITHMS if separate(algorithm)])
def test_shared_and_separate_features_extractors_survive_policy_save(algorithm, share, tmp_path):
    # SB3's own policy.save forgets this argument for some policies.
    model = train(make_model(algorithm, policy_kwargs={"share_features_extractor": share}))
    model.policy.save(tmp_path / "policy")
    loaded = type(model.policy).load(tmp_path / "policy")
    observation = np.full((1, 4), 0.3, dtype=np.float32)
    assert np.array_equal(actions(loaded, observation), actions(model, observation))
