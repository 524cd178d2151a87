"""Recurrent policies choose among the allowed actions alone."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from tests.algorithms.masked import ACTIONS, LIQUID, LSTM, allowed, masks_of
from velora_sb3.policies import (
    LiquidRecurrentMaskableActorCriticPolicy,
    RecurrentMaskableActorCriticCnnPolicy,
    RecurrentMaskableActorCriticPolicy,
    RecurrentMaskableMultiInputActorCriticPolicy,
)

PLACES = np.stack([np.full(3, number, dtype=np.float32) for number in range(5)])
POLICIES = {LiquidRecurrentMaskableActorCriticPolicy: LIQUID, RecurrentMaskableActorCriticPolicy: LSTM}


def make_policy(policy_class=LiquidRecurrentMaskableActorCriticPolicy, actions="Discrete", space=None, **more):
    space = spaces.Box(0, 100, (3,)) if space is None else space
    arguments = {**POLICIES.get(policy_class, LSTM), **more}
    return policy_class(space, ACTIONS[actions], lambda _: 1e-3, **arguments)


@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("actions", ACTIONS)
@pytest.mark.parametrize("policy_class", POLICIES)
def test_predict_keeps_to_the_masks(policy_class, actions, deterministic):
    policy = make_policy(policy_class, actions)
    masks = np.stack([masks_of(policy.action_space, place) for place in PLACES])
    state, broken = None, 0
    for _ in range(10):
        chosen, state = policy.predict(PLACES, state, np.zeros(5), deterministic, masks)
        assert all(allowed(policy.action_space, *pair) for pair in zip(masks, chosen, strict=True))
        free, _ = policy.predict(PLACES, state, np.zeros(5), deterministic)
        broken += sum(not allowed(policy.action_space, *pair) for pair in zip(masks, free, strict=True))
        single, _ = policy.predict(PLACES[2], None, None, deterministic, masks[2])
        assert allowed(policy.action_space, masks[2], single)
    assert broken > 0


@pytest.mark.parametrize("actions", ACTIONS)
def test_every_method_takes_masks(actions):
    policy = make_policy(actions=actions)
    masks = np.stack([masks_of(policy.action_space, place) for place in PLACES])
    places, starts = torch.as_tensor(PLACES), torch.zeros(5)
    size = policy.lstm_actor.hidden_size
    pair = (torch.zeros(1, 5, size), torch.zeros(1, 5, size))

    states = type("States", (), {"pi": pair, "vf": pair})
    chosen, _, log_prob, _ = policy(places, states, starts, action_masks=masks)
    assert all(allowed(policy.action_space, *both) for both in zip(masks, chosen.numpy(), strict=True))
    _, evaluated, entropy = policy.evaluate_actions(places, chosen, states, starts, action_masks=torch.as_tensor(masks))
    torch.testing.assert_close(evaluated, log_prob)
    distribution, _ = policy.get_distribution(places, pair, starts, action_masks=masks)
    torch.testing.assert_close(distribution.log_prob(chosen), log_prob)
    torch.testing.assert_close(distribution.entropy(), entropy)

    unmasked, _ = policy.get_distribution(places, pair, starts)  # masks are forgotten with the call that had them
    assert (unmasked.entropy() > entropy + 0.1).any()


@pytest.mark.parametrize("actions", ACTIONS)
def test_masks_of_another_size_are_explained(actions):
    policy = make_policy(actions=actions)
    masks = np.stack([masks_of(policy.action_space, place) for place in PLACES])
    for wrong in (masks[:, :-1], masks[0], masks.T):
        with pytest.raises(ValueError, match=rf"action_masks must have shape \(5, {masks.shape[1]}\), one row per"):
            policy.predict(PLACES, None, np.ones(5), action_masks=wrong)


def test_masks_are_forgotten_after_an_error_too():
    policy = make_policy()
    masks = masks_of(policy.action_space, PLACES[0])
    with pytest.raises(ValueError, match="Unexpected observation shape"):
        policy.predict(np.zeros(7, dtype=np.float32), action_masks=masks)
    assert policy._action_masks is None


def test_all_allowed_is_no_masks_at_all():
    policy, starts = make_policy(), np.ones(len(PLACES))
    for seed in range(5):
        torch.manual_seed(seed)
        masked, _ = policy.predict(PLACES, None, starts, action_masks=np.ones((5, 4), dtype=bool))
        torch.manual_seed(seed)
        np.testing.assert_array_equal(masked, policy.predict(PLACES, None, starts)[0])


@pytest.mark.parametrize(
    ("policy_class", "space"),
    [
        (RecurrentMaskableActorCriticCnnPolicy, spaces.Box(0, 255, (1, 36, 36), dtype=np.uint8)),
        (RecurrentMaskableMultiInputActorCriticPolicy, spaces.Dict({"a": spaces.Box(-1, 1, (2,))})),
        (LiquidRecurrentMaskableActorCriticPolicy, spaces.Box(0, 255, (1, 36, 36), dtype=np.uint8)),
    ],
)
def test_images_and_dicts(policy_class, space):
    policy = make_policy(policy_class, space=space)
    space.seed(0)
    only = np.array([False, False, True, False])
    assert policy.predict(space.sample(), action_masks=only)[0] == 2


def test_timespans_reach_the_cell():
    space = spaces.Dict({"place": spaces.Box(0, 100, (3,)), "timespans": spaces.Box(0, 5, (1,))})
    policy = make_policy(space=space)
    assert policy.lstm_actor.cell.input_size == 3
    state, states = (np.ones((1, 1, 8)), np.ones((1, 1, 8))), []
    for span in (0.1, 5.0):
        observation = {"place": np.ones((1, 3), np.float32), "timespans": np.full((1, 1), span, np.float32)}
        states.append(policy.predict(observation, state, np.zeros(1))[1])
    assert not np.allclose(states[0][0], states[1][0])


def test_the_liquid_policy_is_saved_whole(tmp_path):
    policy = make_policy(wiring="ncp", units=12, wiring_seed=3)
    policy.save(tmp_path / "policy")
    loaded = type(policy).load(tmp_path / "policy")
    masks = np.stack([masks_of(policy.action_space, place) for place in PLACES])
    expected, state = policy.predict(PLACES, deterministic=True, action_masks=masks)
    action, its_state = loaded.predict(PLACES, deterministic=True, action_masks=masks)
    np.testing.assert_array_equal(action, expected)
    np.testing.assert_array_equal(its_state, state)
