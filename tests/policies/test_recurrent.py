"""Liquid cells in sb3-contrib's LSTM slots."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv

from tests.compat.algorithms import BOX, OBSERVATIONS, RandomEnv, make_env
from velora_sb3.cells import CfCCell, unroll
from velora_sb3.policies.recurrent import CellSlot

MEMORIES = {
    "separate": {},
    "shared": {"shared_lstm": True, "enable_critic_lstm": False},
    "actor alone": {"enable_critic_lstm": False},
}


def make_model(env=None, **policy_kwargs):
    env = make_env(RecurrentPPO) if env is None else env
    small = {"units": 8, "net_arch": [8], **policy_kwargs}
    settings = {"n_steps": 16, "batch_size": 16, "n_epochs": 2, "seed": 0, "device": "cpu"}
    return RecurrentPPO("LiquidPolicy", env, policy_kwargs=small, **settings)


@pytest.mark.parametrize(
    ("cell", "size"), [(lambda: CfCCell(3, 8, backbone_layers=0), 4), (lambda: CfCCell(3, 7, backbone_layers=0), 4)]
)
def test_a_slot_carries_the_state_in_two_halves(cell, size):
    cell = cell()
    slot = CellSlot(cell, timed=False)
    assert slot.hidden_size == size
    inputs, starts = torch.randn(5, 2, 3), torch.rand(5, 2) < 0.3
    pair = (torch.zeros(1, 2, size), torch.zeros(1, 2, size))
    first, pair = slot(inputs[:3], pair, starts[:3])
    second, pair = slot(inputs[3:], pair, starts[3:])
    expected, state = unroll(cell, inputs, episode_starts=starts)
    torch.testing.assert_close(torch.cat([first, second]), expected)
    torch.testing.assert_close(torch.cat([pair[0][0], pair[1][0]], dim=-1)[:, : cell.state_size], state)


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize(
    "liquid", [{}, {"wiring": "ncp", "units": 13}, {"cell": "ltc", "units": 5}, {"mixed_memory": True}]
)
def test_separate_shared_and_no_critic_memory_learn_and_are_saved(memory, liquid, tmp_path):
    model = make_model(**MEMORIES[memory], **liquid)
    before = {name: value.clone() for name, value in model.policy.named_parameters()}
    model.learn(48)
    moved = [name for name, value in model.policy.named_parameters() if not torch.equal(value, before[name])]
    assert any(name.startswith("lstm_actor") for name in moved)
    assert any(name.startswith("lstm_critic") for name in moved) == (memory == "separate")
    assert ("critic.weight" in moved) == (memory == "actor alone")

    model.policy.save(tmp_path / "policy")  # sb3-contrib's own forgets the sizes
    loaded = type(model.policy).load(tmp_path / "policy")
    state, starts = None, np.ones(1)
    for _ in range(4):
        observation = model.observation_space.sample()
        expected, next_state = model.predict(observation, state, starts, deterministic=True)
        action, _ = loaded.predict(observation, state, starts, deterministic=True)
        np.testing.assert_array_equal(action, expected)
        state, starts = next_state, np.zeros(1)


def test_no_parameter_of_the_lstms_is_left():
    model = make_model()
    names = [name for name, _ in model.policy.named_parameters()]
    assert not any("weight_ih_l0" in name for name in names)
    assert sum(map(torch.Tensor.numel, model.policy.parameters())) == sum(
        parameter.numel() for group in model.policy.optimizer.param_groups for parameter in group["params"]
    )


def test_collecting_and_learning_see_the_same_values():
    model = make_model()
    collecting = {name: value.clone() for name, value in model.policy.state_dict().items()}
    model.learn(16)
    model.policy.load_state_dict(collecting)
    batch = next(model.rollout_buffer.get(16))
    values, log_prob, _ = model.policy.evaluate_actions(
        batch.observations, batch.actions, batch.lstm_states, batch.episode_starts
    )
    real = batch.mask > 1e-8  # the rest is padding
    assert batch.episode_starts.sum() > 1
    torch.testing.assert_close(values.flatten()[real], batch.old_values[real], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(log_prob[real], batch.old_log_prob[real], atol=1e-5, rtol=1e-4)


def test_evaluate_policy_is_a_loop_written_by_hand():
    model = make_model(RandomEnv(OBSERVATIONS["vector"], BOX)).learn(32)

    def env():
        made = RandomEnv(OBSERVATIONS["vector"], BOX)
        made.observation_space = spaces.Box(-1, 1, (4,))
        made.observation_space.seed(3)
        return made

    returns, _ = evaluate_policy(model, DummyVecEnv([env]), 2, return_episode_rewards=True, warn=False)
    by_hand, single = [], env()
    for _ in range(2):
        observation, state, start, total, done = single.reset()[0], None, True, 0.0, False
        while not done:
            action, state = model.predict(observation, state, np.array([start]), deterministic=True)
            observation, reward, done, _, _ = single.step(action)
            start, total = False, total + reward
        by_hand.append(total)
    np.testing.assert_allclose(returns, by_hand, rtol=1e-5)


def test_timespans_reach_the_cell():
    model = make_model(make_env(RecurrentPPO, "timespans"))
    assert model.policy.lstm_actor.cell.input_size == 3

    def value(span):
        observation = {"vector": torch.full((1, 3), 0.3), "timespans": torch.full((1, 1), span)}
        pair = (torch.ones(1, 1, 4), torch.ones(1, 1, 4))
        return model.policy.predict_values(observation, pair, torch.zeros(1))

    assert not torch.allclose(value(0.1), value(5.0))


def test_the_lstm_s_hidden_size_is_understood_as_units():
    arguments = {"policy_kwargs": {"lstm_hidden_size": 12}, "n_steps": 16, "batch_size": 16}
    model = RecurrentPPO("LiquidPolicy", make_env(RecurrentPPO), **arguments)
    assert model.policy.lstm_actor.cell.state_size == 12


@pytest.mark.parametrize("arguments", [{"n_lstm_layers": 2}, {"lstm_kwargs": {"dropout": 0.1}}])
def test_what_a_cell_cannot_be_is_refused(arguments):
    with pytest.raises(ValueError, match="a liquid policy has one cell: leave out n_lstm_layers and lstm_kwargs"):
        make_model(**arguments)
