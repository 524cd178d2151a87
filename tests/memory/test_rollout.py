"""Minibatches of whole columns: every row once, without padding, with the states and masks that belong to it."""

import numpy as np
import pytest
import torch
from sb3_contrib.common.recurrent.type_aliases import RNNStates

from tests.algorithms.masked import ACTIONS, allowed, make_env, make_model, masks_of

MEMORIES = {
    "separate": {},
    "shared": {"shared_lstm": True, "enable_critic_lstm": False},
    "actor alone": {"enable_critic_lstm": False},
}


def collect(model):
    """One rollout, with the weights that collected it."""
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    model.learn(model.n_steps * model.n_envs)
    model.policy.load_state_dict(before)
    return model


def minibatches(model, batch_size):
    for batch in model.rollout_buffer.get(batch_size):
        assert batch.mask.all()
        yield batch, batch.observations["place"] if isinstance(batch.observations, dict) else batch.observations


def evaluate(model, batch, states):
    discrete = model.action_space is ACTIONS["Discrete"]
    actions = batch.actions.long().flatten() if discrete else batch.actions
    with torch.no_grad():
        return model.policy.evaluate_actions(batch.observations, actions, states, batch.episode_starts)


def assert_rows_are_right(model, batch_size):
    seen = []
    for batch, places in minibatches(model, batch_size):
        for place, mask, action in zip(places, batch.lstm_states.action_masks.bool(), batch.actions, strict=True):
            np.testing.assert_array_equal(mask, masks_of(model.action_space, place))
            assert allowed(model.action_space, mask.numpy(), action.numpy())

        values, log_prob, _ = evaluate(model, batch, batch.lstm_states)
        torch.testing.assert_close(values.flatten(), batch.old_values, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(log_prob, batch.old_log_prob, atol=1e-5, rtol=1e-5)
        seen += [tuple(place.tolist()) for place in places]
    assert len(seen) == len(set(seen)) == model.n_steps * model.n_envs


@pytest.mark.parametrize("batch_size", [None, 16, 7])
@pytest.mark.parametrize("n_envs", [1, 3])
@pytest.mark.parametrize("observations", ["vector", "dict"])
@pytest.mark.parametrize("actions", ACTIONS)
def test_masks_belong_to_their_rows(actions, observations, n_envs, batch_size):
    env = make_env(n_envs, actions=actions, observations=observations)
    model = collect(make_model(env, sequence_length=None if batch_size is None else 8))
    for _ in range(2):
        assert_rows_are_right(model, batch_size)


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("policy", ["LiquidPolicy", "MlpLstmPolicy"])
def test_with_separate_shared_and_no_critic_memory(policy, memory):
    assert_rows_are_right(collect(make_model(make_env(3), policy, MEMORIES[memory])), 16)


def test_the_second_rollout_has_masks_of_its_own():
    model = make_model(make_env(2)).learn(64)
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    model.learn(64, reset_num_timesteps=False)
    model.policy.load_state_dict(before)
    assert_rows_are_right(model, 16)
    assert min(places[:, 1].min() for _, places in minibatches(model, None)) > 3


def test_without_its_masks_a_minibatch_has_other_log_likelihoods():
    model = collect(make_model(make_env(3)))
    for batch, _ in minibatches(model, 16):
        _, log_prob, entropy = evaluate(model, batch, RNNStates(batch.lstm_states.pi, batch.lstm_states.vf))
        assert (log_prob - batch.old_log_prob).abs().max() > 0.1
        assert (entropy > evaluate(model, batch, batch.lstm_states)[2] - 1e-6).all()


def test_train_sees_a_ratio_of_one_in_its_first_epoch():
    model = make_model(make_env(3), n_steps=32, batch_size=96).learn(96)
    assert model.logger.name_to_value["train/approx_kl"] == pytest.approx(0, abs=1e-8)
    assert model.logger.name_to_value["train/clip_fraction"] == 0


@pytest.mark.parametrize(("actions", "count"), [("Discrete", 4), ("MultiDiscrete", 9), ("MultiBinary", 6)])
def test_masks_that_do_not_fit_are_refused(actions, count):
    model = make_model(make_env(2, actions=actions))
    for wrong in (1, count - 1, count + 1):
        with pytest.raises(ValueError, match=f"returned {wrong} values for {actions}.*expected {count}: true where"):
            model.rollout_buffer.store_masks(np.ones((2, wrong)))
    model.rollout_buffer.store_masks(np.zeros((2, count)))
    assert not model.rollout_buffer.action_masks[0].any()
    assert model.rollout_buffer.action_masks[1:].all()
