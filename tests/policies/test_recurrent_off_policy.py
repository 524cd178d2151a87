"""The default memory; the critics of SAC and TQC compute no gradients that SB3 throws away, and learn the same."""

from functools import partial

import numpy as np
import pytest
import torch
from stable_baselines3 import SAC

from tests.algorithms.recurrent import CONTINUOUS, DISCRETE_ACTIONS, make_model
from velora_sb3 import RecurrentSAC, RecurrentTD3, RecurrentTQC
from velora_sb3.cells import MixedMemoryCell
from velora_sb3.memory import LiquidExtractor
from velora_sb3.policies.recurrent_off_policy import SequenceCritic, SquashedActor


def learned(algorithm, **policy_kwargs):
    model = make_model(algorithm, policy_kwargs=policy_kwargs).learn(30)
    return model, {name: value.clone() for name, value in model.policy.state_dict().items()}


class Gated(LiquidExtractor):
    def __init__(self, space, cell="gru", **kwargs):
        super().__init__(space, cell=cell, **kwargs)


class WithoutLSTM(LiquidExtractor):
    def __init__(self, space, **kwargs):
        super().__init__(space, mixed_memory=False, **kwargs)


class OfFewArguments(LiquidExtractor):
    def __init__(self, space, units, previous_action_size, readout_units):
        super().__init__(space, units=units, previous_action_size=previous_action_size, readout_units=readout_units)


@pytest.mark.parametrize(
    ("algorithm", "settings", "mixed"),
    [
        *((algorithm, {}, True) for algorithm in CONTINUOUS),
        *((algorithm, {}, False) for algorithm in DISCRETE_ACTIONS),
        *((algorithm, {"mixed_memory": True}, True) for algorithm in DISCRETE_ACTIONS),
        (RecurrentSAC, {"mode": "no_gate"}, True),
        (RecurrentSAC, {"mode": "pure"}, False),
        (RecurrentSAC, {"backbone_units": 8}, False),
        (RecurrentSAC, {"backbone_units": 8, "backbone_layers": 0}, True),
        (RecurrentSAC, {"mixed_memory": False}, False),
        (RecurrentSAC, {"wiring": "ncp", "units": 12}, False),
        (RecurrentSAC, {"cell": "lrc"}, False),
        (RecurrentSAC, {"features_extractor_kwargs": {"cell": "lrc"}}, False),
        (RecurrentTD3, {"features_extractor_kwargs": {"mixed_memory": False}}, False),
        (RecurrentSAC, {"features_extractor_class": LiquidExtractor}, True),
        (RecurrentSAC, {"features_extractor_class": Gated}, False),
        (RecurrentSAC, {"features_extractor_class": WithoutLSTM}, False),
        (RecurrentSAC, {"features_extractor_class": OfFewArguments}, False),
    ],
)
def test_with_continuous_actions_a_dense_cfc_has_mixed_memory_unless_told_otherwise(algorithm, settings, mixed):
    policy = make_model(algorithm, policy_kwargs=settings).policy
    cells = [extractor.cell for extractor in policy.modules() if isinstance(extractor, LiquidExtractor)]
    assert cells
    assert all(isinstance(cell, MixedMemoryCell) == mixed for cell in cells)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("algorithm", [RecurrentSAC, RecurrentTQC, RecurrentTD3])
def test_discarded_gradients_change_nothing(algorithm, shared, monkeypatch):
    _, ours = learned(algorithm, share_features_extractor=shared)
    for name in ("forward", "extract_features"):  # leaves SB3's forward
        monkeypatch.delattr(SequenceCritic, name)
    _, expected = learned(algorithm, share_features_extractor=shared)
    for name, value in expected.items():
        assert torch.equal(ours[name], value), name


@pytest.mark.parametrize("algorithm", [RecurrentSAC, RecurrentTQC, RecurrentTD3])
def test_features_have_gradients_in_the_critic_s_own_loss_alone(algorithm):
    model, _ = learned(algorithm)
    samples = model.replay_buffer.sample(12)
    features = []
    model.critic.features_extractor.register_forward_hook(lambda *call: features.append(call[-1].requires_grad))
    model.critic(samples.observations, samples.actions)
    model.critic(samples.observations, samples.actions.clone().requires_grad_())
    with torch.no_grad():
        model.critic(samples.next_observations, samples.actions)
    assert features == [True, False, False]


@pytest.mark.parametrize("settings", [{}, {"use_sde": True}, {"use_sde": True, "policy_kwargs": {"clip_mean": 0.0}}])
@pytest.mark.parametrize("algorithm", [RecurrentSAC, RecurrentTQC])
def test_the_deterministic_action_is_the_mode_of_sb3_s_distribution(algorithm, settings, monkeypatch):
    model = make_model(algorithm, **settings).learn(30)
    seen = np.stack([model.observation_space.sample() for _ in range(5)])
    ours, state = model.predict(seen, None, np.ones(5), deterministic=True)
    monkeypatch.delattr(SquashedActor, "forward")  # leaves SB3's
    expected, expected_state = model.predict(seen, None, np.ones(5), deterministic=True)
    assert np.array_equal(ours, expected)
    assert all(map(np.array_equal, state, expected_state))


@pytest.mark.parametrize("make", [partial(SAC, "LiquidPolicy"), partial(make_model, RecurrentTQC)])
def test_an_action_that_is_nan_is_an_error(make):
    model = make(env="PendulumNoVel-v1")
    with pytest.raises(ValueError, match="check the observation"):
        model.predict(np.full(model.observation_space.shape, np.nan, np.float32), deterministic=True)


@pytest.mark.parametrize("part", ["policy", "actor", "critic"])
def test_predict_acts_in_evaluation_mode(part):
    model, _ = learned(RecurrentSAC)
    _, state = model.predict(model.observation_space.sample())
    getattr(model, part).set_training_mode(True)
    model.predict(model.observation_space.sample(), state)
    assert not any(module.training for module in model.policy.modules())
    model.policy.set_training_mode(True)
    assert all(module.training for module in model.actor.modules())


@pytest.mark.parametrize("algorithm", [*CONTINUOUS, *DISCRETE_ACTIONS])
def test_an_empty_batch_and_episode_starts_in_a_tensor(algorithm):
    model = make_model(algorithm)
    seen = np.stack([model.observation_space.sample() for _ in range(3)])
    expected, state = model.predict(seen, None, np.ones(3), deterministic=True)
    again, _ = model.predict(seen, state, torch.ones(3), deterministic=True)
    np.testing.assert_allclose(again, expected, atol=1e-6)
    actions, state = model.predict(seen[:0], None, np.ones(0))
    assert len(actions) == len(state[0]) == len(state[1]) == 0
