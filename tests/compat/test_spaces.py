"""Every algorithm learns from every kind of observation and with every kind of action that it allows."""

import numpy as np
import pytest
from gymnasium import spaces
from sb3_contrib import ARS, CrossQ
from stable_baselines3 import A2C, PPO, SAC
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecNormalize

from tests.compat.algorithms import ACTIONS, ALGORITHMS, OBSERVATIONS, make_env, make_model, parameters, train


def learned_something(model):
    before = parameters(model)
    train(model)
    return any(".cell." in name and not before[name].equal(after) for name, after in parameters(model).items())


@pytest.mark.parametrize("observations", OBSERVATIONS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_observations(algorithm, observations):
    if algorithm is CrossQ and isinstance(OBSERVATIONS[observations], spaces.Dict):
        with pytest.raises(ValueError, match="CrossQ does not support Dict observations: use SAC or TQC"):
            make_model(algorithm, make_env(algorithm, observations))
        return
    model = make_model(algorithm, make_env(algorithm, observations))
    assert learned_something(model)
    action, _ = model.predict(model.observation_space.sample(), deterministic=True)
    assert model.action_space.contains(np.asarray(action, dtype=model.action_space.dtype))


@pytest.mark.parametrize(
    ("algorithm", "actions"), [(algorithm, actions) for algorithm in ALGORITHMS for actions in ACTIONS[algorithm]]
)
def test_actions(algorithm, actions):
    model = make_model(algorithm, make_env(algorithm, actions=actions))
    assert learned_something(model)
    observations = np.stack([model.observation_space.sample() for _ in range(3)])
    chosen, _ = model.predict(observations)
    assert all(actions.contains(np.asarray(action, dtype=actions.dtype)) for action in chosen)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_several_environments_and_normalized_observations(algorithm):
    env = VecNormalize(DummyVecEnv([lambda: make_env(algorithm)] * 3))
    assert learned_something(make_model(algorithm, env))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_frame_stack_is_unrolled(algorithm):
    if "n_stack" not in _liquid_arguments(algorithm):
        pytest.skip("a recurrent policy takes one observation at a time")
    env = VecFrameStack(DummyVecEnv([lambda: make_env(algorithm)] * 2), n_stack=3)
    model = make_model(algorithm, env, {"n_stack": 3})
    assert learned_something(model)
    extractor = next(module for name, module in model.policy.named_modules() if name.endswith("features_extractor"))
    assert (extractor.frames.steps, extractor.cell.input_size) == (3, 4)


@pytest.mark.parametrize("algorithm", [SAC, PPO, A2C])
def test_generalised_state_dependent_exploration(algorithm):
    env = make_env(algorithm, actions=ACTIONS[SAC][0])
    assert learned_something(make_model(algorithm, env, use_sde=True, sde_sample_freq=4))


@pytest.mark.parametrize(
    "liquid",
    [
        {"mode": "pure"},
        {"mode": "no_gate"},
        {"wiring": "ncp"},
        {"wiring": "random", "wiring_seed": 3},
        {"cell": "ltc"},
        {"cell": "ltc", "wiring": "ncp", "ode_unfolds": 2},
        {"mixed_memory": True},
        {"mixed_memory": False},
        {"backbone_units": 8, "backbone_layers": 2},
        {"encoder_units": 8, "readout_units": 8},
    ],
    ids=lambda liquid: " ".join(map(str, liquid.values())),
)
@pytest.mark.parametrize("algorithm", [algorithm for algorithm in ALGORITHMS if algorithm is not ARS])
def test_cells(algorithm, liquid):
    if not set(liquid) <= _liquid_arguments(algorithm):
        pytest.skip("not an argument of this algorithm's policy")
    assert learned_something(make_model(algorithm, policy_kwargs=liquid))


def _liquid_arguments(algorithm):
    return set(algorithm.policy_aliases["LiquidPolicy"].liquid_arguments)
