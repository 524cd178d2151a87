"""Liquid cells in sb3-contrib's LSTM slots."""

import numpy as np
import pytest
import torch
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from stable_baselines3 import PPO
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv

from tests.compat.algorithms import make_env
from tests.compat.algorithms import make_model as make_any_model
from velora_sb3 import RecurrentMaskablePPO
from velora_sb3.cells import CfCCell, MixedMemoryCell, unroll
from velora_sb3.policies.recurrent_actor_critic import CellSlot

MEMORIES = {
    "separate": {},
    "shared": {"shared_lstm": True, "enable_critic_lstm": False},
    "actor alone": {"enable_critic_lstm": False},
    "separate, with features of their own": {"share_features_extractor": False},
    "actor alone, with features of its own": {"enable_critic_lstm": False, "share_features_extractor": False},
}


def make_model(env=None, settings=None, **policy_kwargs):
    env = make_env(RecurrentPPO) if env is None else env
    small = {"units": 8, "net_arch": [8], **policy_kwargs}
    settings = {"n_steps": 16, "batch_size": 16, "n_epochs": 2, "seed": 0, "device": "cpu", **(settings or {})}
    return RecurrentPPO("LiquidPolicy", env, policy_kwargs=small, **settings)


def assert_policy_is_saved(model, path):
    """sb3-contrib's own ``policy.save`` forgets the sizes."""
    model.policy.save(path)
    loaded = type(model.policy).load(path)
    state, starts = None, np.ones(1)
    for _ in range(4):
        observation = model.observation_space.sample()
        expected, next_state = model.predict(observation, state, starts, deterministic=True)
        action, _ = loaded.predict(observation, state, starts, deterministic=True)
        np.testing.assert_array_equal(action, expected)
        state, starts = next_state, np.zeros(1)


@pytest.mark.parametrize("memory", MEMORIES)
def test_with_a_skip_connection_the_heads_see_the_inputs(memory, tmp_path):
    model = make_model(skip_connection=True, **MEMORIES[memory])
    policy = model.policy
    cell = policy.lstm_actor.cell
    assert policy.mlp_extractor.policy_net[0].in_features == cell.input_size + cell.output_size
    inputs, starts = torch.randn(3, 2, cell.input_size), torch.zeros(3, 2)
    pair = (torch.zeros(1, 2, policy.lstm_actor.hidden_size),) * 2
    outputs, _ = policy.lstm_actor(inputs, pair, starts)
    torch.testing.assert_close(outputs, torch.cat([inputs, unroll(cell, inputs)[0]], dim=-1))
    model.learn(32)
    assert_policy_is_saved(model, tmp_path / "policy")
    model.save(tmp_path / "model")
    assert RecurrentPPO.load(tmp_path / "model").policy.lstm_actor.skip


def test_a_skip_connection_is_true_or_false():
    with pytest.raises(ValueError, match="skip_connection must be True or False, got 'yes'"):
        make_model(skip_connection="yes")


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


def assert_learns_with(memory, model):
    before = {name: value.clone() for name, value in model.policy.named_parameters()}
    model.learn(48)
    moved = [name for name, value in model.policy.named_parameters() if not torch.equal(value, before[name])]
    assert any(name.startswith("lstm_actor") for name in moved)
    assert any(name.startswith("lstm_critic") for name in moved) == memory.startswith("separate")
    assert ("critic.weight" in moved) == memory.startswith("actor alone")
    return moved


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize(
    "liquid", [{}, {"wiring": "ncp", "units": 13}, {"cell": "ltc", "units": 5}, {"mixed_memory": True}]
)
def test_separate_shared_and_no_critic_memory_learn_and_are_saved(memory, liquid, tmp_path):
    model = make_model(**MEMORIES[memory], **liquid)
    assert_learns_with(memory, model)
    assert_policy_is_saved(model, tmp_path / "policy")


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("observations", ["image", "dict", "timespans"])
def test_and_from_every_kind_of_observation(memory, observations, tmp_path):
    model = make_model(make_env(RecurrentPPO, observations), **MEMORIES[memory])
    moved = assert_learns_with(memory, model)
    encoders = {name.split(".")[0] for name, _ in model.policy.named_parameters() if "features_extractor" in name}
    assert encoders <= {name.split(".")[0] for name in moved}
    assert bool(encoders) == (observations == "image")  # the others are taken as they are
    assert_policy_is_saved(model, tmp_path / "policy")


@pytest.mark.parametrize(
    ("together", "message"),
    [
        ({"shared_lstm": True}, "choose between shared LSTM, seperate or no LSTM"),
        ({**MEMORIES["shared"], "share_features_extractor": False}, "the LSTM cannot be shared"),
    ],
)
def test_memories_that_contradict_each_other_are_refused_as_by_sb3_contrib(together, message):
    with pytest.raises(AssertionError, match=message):
        make_model(**together)


def test_generalised_state_dependent_exploration_and_a_clipped_value():
    settings = {"use_sde": True, "sde_sample_freq": 4, "clip_range_vf": 0.1}
    assert "log_std" in assert_learns_with("separate", make_model(settings=settings))


class Doubled(BaseFeaturesExtractor):
    """A user's own features extractor."""

    def __init__(self, space, factor=2):
        super().__init__(space, features_dim=space.shape[0])
        self.factor = factor

    def forward(self, observations):
        return observations * self.factor


@pytest.mark.parametrize(
    "liquid",
    [
        {"features_extractor_class": Doubled, "features_extractor_kwargs": {"factor": 3}},
        {"net_arch": {"pi": [], "vf": [9]}, "activation_fn": torch.nn.ReLU, "ortho_init": False},
    ],
    ids=lambda liquid: next(iter(liquid)),
)
def test_heads_and_an_encoder_of_the_user_s_own_are_saved(liquid, tmp_path):
    model = make_model(**liquid).learn(32)
    assert_policy_is_saved(model, tmp_path / "policy")


def test_no_parameter_of_the_lstms_is_left():
    model = make_model()
    names = [name for name, _ in model.policy.named_parameters()]
    assert not any("weight_ih_l0" in name for name in names)
    assert sum(map(torch.Tensor.numel, model.policy.parameters())) == sum(
        parameter.numel() for group in model.policy.optimizer.param_groups for parameter in group["params"]
    )


@pytest.mark.parametrize(
    ("n_envs", "n_steps", "batch_size"), [(1, 16, 16), (1, 16, 6), (3, 10, 7), (3, 10, 30), (2, 5, 64)]
)
def test_collecting_and_learning_see_the_same_values(n_envs, n_steps, batch_size):
    steps = n_envs * n_steps
    env = DummyVecEnv([lambda: make_env(RecurrentPPO)] * n_envs)
    model = make_model(env, {"n_steps": n_steps, "batch_size": batch_size, "n_epochs": 1})
    collecting = {name: value.clone() for name, value in model.policy.state_dict().items()}
    model.learn(steps)
    assert not all(torch.equal(value, collecting[name]) for name, value in model.policy.state_dict().items())
    model.policy.load_state_dict(collecting)
    seen = starts = 0
    for batch in model.rollout_buffer.get(batch_size):
        values, log_prob, _ = model.policy.evaluate_actions(
            batch.observations, batch.actions, batch.lstm_states, batch.episode_starts
        )
        real = batch.mask > 1e-8  # the rest is padding
        torch.testing.assert_close(values.flatten()[real], batch.old_values[real], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(log_prob[real], batch.old_log_prob[real], atol=1e-5, rtol=1e-4)
        seen, starts = seen + real.sum(), starts + batch.episode_starts[real].sum()
    assert seen == steps
    assert starts > n_envs or n_steps < 7  # episodes have 7 steps


def test_a_batch_is_one_unroll_for_each_memory_whatever_starts_within_it(monkeypatch):
    model, lengths = make_model(), []

    def counted(cell, inputs, *args, **kwargs):
        lengths.append(len(inputs))
        return unroll(cell, inputs, *args, **kwargs)

    monkeypatch.setattr("velora_sb3.policies.recurrent_actor_critic.unroll", counted)
    observations, starts = torch.randn(20, 4), torch.tensor([1.0, 0, 0, 1, 0, 0, 0, 1, 0, 0] * 2)
    pair = (torch.ones(1, 2, 8), torch.ones(1, 2, 8))  # two sequences of ten steps
    model.policy.evaluate_actions(observations, torch.zeros(20, 2), RNNStates(pair, pair), starts)
    assert lengths == [10, 10]


def test_learn_called_again_goes_on_where_it_was():
    def learned(*parts):
        model = make_model()
        for part in parts:
            model.learn(part, reset_num_timesteps=False)
        return model.policy.parameters_to_vector()

    np.testing.assert_array_equal(learned(48), learned(16, 32))


def test_timespans_reach_the_cell():
    model = make_model(make_env(RecurrentPPO, "timespans"))
    assert model.policy.lstm_actor.cell.input_size == 3

    def value(span):
        observation = {"vector": torch.full((1, 3), 0.3), "timespans": torch.full((1, 1), span)}
        pair = (torch.ones(1, 1, 8), torch.ones(1, 1, 8))
        return model.policy.predict_values(observation, pair, torch.zeros(1))

    assert not torch.allclose(value(0.1), value(5.0))


def test_the_lstm_s_hidden_size_is_understood_as_units(tmp_path):
    arguments = {"policy_kwargs": {"lstm_hidden_size": 12}, "n_steps": 16, "batch_size": 16}
    model = RecurrentPPO("LiquidPolicy", make_env(RecurrentPPO), **arguments)
    assert model.policy.lstm_actor.cell.output_size == 12
    assert_policy_is_saved(model, tmp_path / "policy")


@pytest.mark.parametrize("arguments", [{"n_lstm_layers": 2}, {"lstm_kwargs": {"dropout": 0.1}}])
def test_what_a_cell_cannot_be_is_refused(arguments):
    with pytest.raises(ValueError, match="a liquid policy has one cell .*: leave out n_lstm_layers and lstm_kwargs"):
        make_model(**arguments)


def test_a_critic_without_memory_is_not_shown_the_time(tmp_path):
    model = make_model(make_env(RecurrentPPO, "timespans"), enable_critic_lstm=False).learn(32)
    assert model.policy.critic.in_features == 3
    observation = {"vector": np.ones((1, 3), np.float32), "timespans": np.ones((1, 1), np.float32)}
    later = {**observation, "timespans": 3 * observation["timespans"]}
    states = (torch.zeros(1, 1, model.policy.lstm_actor.hidden_size),) * 2
    values = [
        model.policy.predict_values(model.policy.obs_to_tensor(each)[0], states, torch.zeros(1))
        for each in (observation, later)
    ]
    assert torch.equal(*values)
    assert_policy_is_saved(model, tmp_path / "policy")


@pytest.mark.parametrize("algorithm", [PPO, RecurrentPPO])
def test_sb3_s_own_extractor_takes_its_arguments(algorithm):
    model = make_any_model(
        algorithm, make_env(algorithm, "image"), policy_kwargs={"features_extractor_kwargs": {"features_dim": 24}}
    )
    assert model.policy.features_extractor.encoder.features_dim == 24
    with pytest.raises(TypeError, match="FlattenExtractor has no argument features_dim; it takes none"):
        make_any_model(algorithm, policy_kwargs={"features_extractor_kwargs": {"features_dim": 24}})


@pytest.mark.parametrize(
    ("algorithm", "policy"),
    [
        (RecurrentPPO, "LiquidPolicy"),
        (RecurrentMaskablePPO, "LiquidPolicy"),
        (RecurrentMaskablePPO, "MlpLstmPolicy"),
    ],
)
def test_a_state_of_another_batch_or_width_is_refused(algorithm, policy):
    model = algorithm(policy, "CartPole-v1", n_steps=8, batch_size=8, seed=0)
    one, three = np.zeros((1, 4), np.float32), np.zeros((3, 4), np.float32)
    _, state = model.predict(one, None, np.ones(1))
    _, state_of_three = model.predict(three, None, np.ones(3))
    wide = tuple(np.zeros((1, 1, 400), np.float32) for _ in range(2))
    for observation, wrong in ((three, state), (one, state_of_three), (one, wide), (one, state[:1])):
        with pytest.raises(ValueError, match="state must be two arrays of shape .* got shapes"):
            model.predict(observation, wrong, np.zeros(len(observation)))
    for wrong in (np.zeros(1), torch.zeros(1)):
        with pytest.raises(ValueError, match="episode_start must have one value for each of 3 observation.s., got 1"):
            model.predict(three, state_of_three, wrong)
    model.predict(three, state_of_three, np.zeros(3))
    model.predict(one[0], state, np.zeros(1))


def test_a_slot_refuses_halves_of_another_width():
    slot = CellSlot(CfCCell(3, 7, backbone_layers=0), timed=False)
    with pytest.raises(ValueError, match="state must have shape"):
        slot(torch.zeros(1, 2, 3), (torch.zeros(1, 2, 9),) * 2, torch.zeros(1, 2))


@pytest.mark.parametrize(
    ("settings", "mixed"),
    [
        ({}, True),
        ({"cell": "cfc", "mode": "no_gate"}, True),
        ({"mixed_memory": False}, False),
        ({"mode": "pure"}, False),
        ({"backbone_units": 8}, False),
        ({"wiring": "ncp", "units": 12}, False),
        ({"cell": "ltc", "units": 4}, False),
        ({"cell": "gru", "units": 4}, False),
    ],
)
def test_a_dense_cfc_has_mixed_memory_unless_told_otherwise(settings, mixed):
    policy = RecurrentPPO("LiquidPolicy", "CartPole-v1", n_steps=8, batch_size=8, policy_kwargs=settings).policy
    assert isinstance(policy.lstm_actor.cell, MixedMemoryCell) == mixed
    assert isinstance(policy.lstm_critic.cell, MixedMemoryCell) == mixed
