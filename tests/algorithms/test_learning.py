"""SB3's own train() on windows: every algorithm, every kind of observation, saving and seeds."""

import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from tests.algorithms.recurrent import ALGORITHMS, CONTINUOUS, make_env, make_model

STEPS = 40


def weights(model):
    return {name: value.clone() for name, value in model.policy.state_dict().items()}


def changed(before, after):
    return [name for name, value in before.items() if not torch.equal(value, after[name])]


def every_memory_learned(before, model):
    """Whether each network's cell has moved, in weights that only a sequence reaches."""
    moved = changed(before, weights(model))
    networks = {name.split(".")[0] for name in before if ".cell." in name and "target" not in name}
    recurrent = ("weight_hh", ".cell.w")  # an LTC's synapses are one vector
    return all(
        any(name.startswith(network) and any(r in name for r in recurrent) for name in moved) for network in networks
    )


@pytest.mark.parametrize("observations", ["vector", "dict", "timespans", "image", "discrete"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_observation_trains_the_recurrent_weights(algorithm, observations):
    model = make_model(algorithm, make_env(algorithm, observations))
    before = weights(model)
    model.learn(STEPS)
    assert every_memory_learned(before, model)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_several_normalized_environments(algorithm):
    env = VecNormalize(DummyVecEnv([lambda: make_env(algorithm)] * 3))
    model = make_model(algorithm, env)
    before = weights(model)
    model.learn(3 * STEPS)
    assert every_memory_learned(before, model)


@pytest.mark.parametrize(
    "liquid", [{"wiring": "ncp", "units": 12}, {"cell": "ltc"}, {"mixed_memory": True}, {"mixed_memory": False}]
)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_cells_and_burn_in(algorithm, liquid):
    model = make_model(algorithm, policy_kwargs=liquid, burn_in_length=3)
    before = weights(model)
    model.learn(STEPS)
    assert every_memory_learned(before, model)


@pytest.mark.parametrize("observations", ["vector", "dict"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_n_step_returns(algorithm, observations):
    env = VecNormalize(DummyVecEnv([lambda: make_env(algorithm, observations)] * 2), norm_obs=False)
    model = make_model(algorithm, env, n_steps=3, gamma=0.9)
    before = weights(model)
    model.learn(2 * STEPS)
    assert every_memory_learned(before, model)
    assert (model.replay_buffer.n_steps, model.replay_buffer.gamma) == (3, 0.9)
    dtypes = {value.dtype for value in model.replay_buffer.sample(12)[2:] if isinstance(value, torch.Tensor)}
    assert dtypes == {torch.float32}


@pytest.mark.parametrize("algorithm", CONTINUOUS)
def test_a_features_extractor_shared_by_actor_and_critic(algorithm):
    model = make_model(algorithm, policy_kwargs={"share_features_extractor": True})
    before = weights(model)
    model.learn(STEPS)
    assert any("weight_hh" in name for name in changed(before, weights(model)))


def test_generalised_state_dependent_exploration():
    from velora_sb3 import RecurrentSAC

    model = make_model(RecurrentSAC, use_sde=True, sde_sample_freq=4)
    before = weights(model)
    model.learn(STEPS)
    assert every_memory_learned(before, model)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_two_runs_with_one_seed_are_equal(algorithm):
    first, second = (weights(make_model(algorithm, seed=3).learn(STEPS)) for _ in range(2))
    assert changed(first, second) == []


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_is_saved_acts_and_remembers_as_it_did(algorithm, tmp_path):
    model = make_model(algorithm).learn(STEPS)
    model.save(tmp_path / "model")
    model.policy.save(tmp_path / "policy")
    loaded = algorithm.load(tmp_path / "model", env=model.get_env())
    policy = type(model.policy).load(tmp_path / "policy")
    states = [None, None, None]
    for _ in range(5):
        observation = model.observation_space.sample()[None]
        starts = np.zeros(1, dtype=bool)
        results = [
            acting.predict(observation, state, starts, deterministic=True)
            for acting, state in zip((model, loaded, policy), states, strict=True)
        ]
        states = [state for _, state in results]
        for action, state in results[1:]:
            np.testing.assert_array_equal(action, results[0][0])
            np.testing.assert_array_equal(state[0], states[0][0])
    loaded.learn(STEPS, reset_num_timesteps=False)


@pytest.mark.parametrize("algorithm", CONTINUOUS)
def test_the_memory_changes_what_the_agent_does(algorithm):
    model = make_model(algorithm)
    observation = np.full((1, 4), 0.3, dtype=np.float32)
    first, state = model.predict(observation, None, np.ones(1), deterministic=True)
    second, _ = model.predict(observation, state, np.zeros(1), deterministic=True)
    assert not np.allclose(first, second)
