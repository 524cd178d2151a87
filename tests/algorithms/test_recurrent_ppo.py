"""sb3-contrib's RecurrentPPO and ours: the same losses and gradients from other minibatches."""

import warnings

import numpy as np
import pytest
import sb3_contrib
import torch
from gymnasium import spaces
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor, NatureCNN
from stable_baselines3.common.vec_env import DummyVecEnv

from tests.compat.algorithms import BOX, OBSERVATIONS, RandomEnv
from velora_sb3 import RecurrentMaskablePPO, RecurrentPPO
from velora_sb3.algorithms.recurrent_ppo import nearest_divisor
from velora_sb3.memory import ColumnDictRolloutBuffer, ColumnRolloutBuffer
from velora_sb3.policies import LstmActorCriticPolicy

LIQUID, LSTM = {"units": 6}, {"lstm_hidden_size": 6}
SHARED = {"shared_lstm": True, "enable_critic_lstm": False}
LOSSES = ["policy_gradient_loss", "value_loss", "entropy_loss", "approx_kl", "clip_fraction", "loss"]


def make_env(observations="vector", actions=BOX, n_envs=3):
    """Episodes of 5, 6 and 7 steps: they start at different times, and run from one rollout into the next."""
    space = OBSERVATIONS[observations]
    return DummyVecEnv([lambda length=length: RandomEnv(space, actions, 5 + length) for length in range(n_envs)])


def make_model(algorithm=RecurrentPPO, env=None, policy="LiquidPolicy", policy_kwargs=None, **more):
    small = {"net_arch": [6], **(LIQUID if policy == "LiquidPolicy" else LSTM), **(policy_kwargs or {})}
    settings = {"n_steps": 16, "batch_size": None, "n_epochs": 1, "seed": 0, "device": "cpu", **more}
    return algorithm(policy, make_env() if env is None else env, policy_kwargs=small, **settings)


def in_double(extractor):
    class Doubled(extractor):
        def forward(self, observations):
            if isinstance(observations, dict):
                return super().forward({key: value.double() for key, value in observations.items()})
            return super().forward(observations.double())

    return Doubled


class Precise(BaseCallback):
    """Keeps states as float64, and changes the policy before it learns: nothing is left to compare at a ratio of 1."""

    def _on_rollout_start(self):
        buffer = self.model.rollout_buffer
        for name in ("hidden_states_pi", "cell_states_pi", "hidden_states_vf", "cell_states_vf"):
            vars(buffer)[name] = vars(buffer)[name].astype(np.float64)

    def _on_rollout_end(self):
        with torch.no_grad():
            for parameter in self.model.policy.parameters():
                parameter += 0.05 * torch.randn(parameter.shape, generator=self.noise, dtype=torch.float64)

    def _on_step(self):
        return True

    def __init__(self):
        super().__init__()
        self.noise = torch.Generator().manual_seed(0)


def learned(algorithm, policy, observations, **policy_kwargs):
    """The losses and gradients of the second of two rollouts, in float64."""
    extractors = {"image": NatureCNN, "dict": CombinedExtractor, "timespans": CombinedExtractor}
    extractor = extractors.get(observations, FlattenExtractor)
    policy_kwargs["features_extractor_class"] = in_double(extractor)
    env = make_env(observations)
    model = make_model(algorithm, env, policy, policy_kwargs, learning_rate=0.0, max_grad_norm=1e9, clip_range=0.02)
    model.policy.double()
    model._last_lstm_states = type(model._last_lstm_states)(
        *(tuple(state.double() for state in pair) for pair in model._last_lstm_states)
    )
    model.learn(2 * 16 * 3, callback=Precise())
    losses = {name: model.logger.name_to_value[f"train/{name}"] for name in LOSSES}
    return losses, {name: parameter.grad for name, parameter in model.policy.named_parameters()}


@pytest.mark.parametrize(
    ("policy", "observations", "policy_kwargs"),
    [
        ("LiquidPolicy", "vector", {}),
        ("LiquidPolicy", "vector", {"mode": "pure"}),
        ("LiquidPolicy", "vector", {"wiring": "ncp", "units": 9}),
        ("LiquidPolicy", "vector", {"mixed_memory": True}),
        ("LiquidPolicy", "vector", SHARED),
        ("LiquidPolicy", "timespans", {"cell": "lrc"}),
        ("LiquidPolicy", "vector", {"cell": "lstm"}),
        ("LiquidPolicy", "vector", {"enable_critic_lstm": False}),
        ("LiquidPolicy", "timespans", {}),
        ("LiquidPolicy", "timespans", {"cell": "ltc"}),
        ("LiquidPolicy", "dict", {"share_features_extractor": False}),
        ("LiquidPolicy", "image", {}),
        ("MlpLstmPolicy", "vector", {}),
        ("MlpLstmPolicy", "vector", {"n_lstm_layers": 2}),
        ("MlpLstmPolicy", "vector", SHARED),
        ("MultiInputLstmPolicy", "timespans", {}),
        ("CnnLstmPolicy", "image", {"enable_critic_lstm": False}),
    ],
)
def test_a_minibatch_of_everything_has_sb3_contrib_s_losses_and_gradients(
    policy, observations, policy_kwargs, monkeypatch
):
    monkeypatch.setattr(np.random, "randint", lambda high: 0)  # sb3-contrib begins at the first row
    losses, gradients = learned(RecurrentPPO, policy, observations, **policy_kwargs)
    expected, their_gradients = learned(sb3_contrib.RecurrentPPO, policy, observations, **policy_kwargs)
    assert 0 < expected["clip_fraction"] < 1 and expected["approx_kl"] > 0
    assert losses == pytest.approx(expected, abs=1e-8)
    for name, gradient in their_gradients.items():
        torch.testing.assert_close(gradients[name], gradient, atol=1e-6, rtol=1e-6)
        assert gradient is None or gradient.any(), name


def rows(batch):
    return [tuple(row.tolist()) for row in batch.observations.flatten(1)]


def test_a_minibatch_is_some_environments_columns():
    model = make_model(batch_size=16).learn(48)
    environments = np.split(model.rollout_buffer.observations, 3)
    batches = [rows(batch) for batch in model.rollout_buffer.get(32)]
    assert [len(batch) for batch in batches] == [32, 16]
    columns = [batch[start : start + 16] for batch in batches for start in range(0, len(batch), 16)]
    assert sorted(columns) == sorted([tuple(row) for row in column.tolist()] for column in environments)
    orders = {tuple(batch[0] for batch in map(rows, model.rollout_buffer.get(16))) for _ in range(20)}
    assert len(orders) > 1  # shuffled


@pytest.mark.parametrize("policy", ["LiquidPolicy", "MlpLstmPolicy"])
@pytest.mark.parametrize("length", [16, 8, 2])
def test_columns_start_with_the_states_that_collection_had(length, policy):
    model = make_model(policy=policy, batch_size=16, sequence_length=length, learning_rate=0.0).learn(96)
    seen = 0
    for batch in model.rollout_buffer.get(16):
        with torch.no_grad():
            values, log_prob, _ = model.policy.evaluate_actions(
                batch.observations, batch.actions, batch.lstm_states, batch.episode_starts
            )
        torch.testing.assert_close(values.flatten(), batch.old_values, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(log_prob, batch.old_log_prob, atol=1e-5, rtol=1e-4)
        seen += len(batch.returns)
    assert seen == 48


@pytest.mark.parametrize(
    ("batch_size", "length", "column", "sizes"),
    [
        (16, None, 16, [1, 1, 1]),
        (None, None, 16, [3]),
        (1000, None, 16, [3]),
        (48, None, 16, [3]),
        (8, None, 8, [1] * 6),
        (8, 4, 4, [2] * 6),
        (8, 16, 16, [1, 1, 1]),
        (5, None, 4, [1] * 12),
        (20, None, 16, [1, 1, 1]),
        (32, None, 16, [2, 1]),
    ],
)
def test_how_a_rollout_is_cut(batch_size, length, column, sizes):
    exact = batch_size is None or batch_size >= 48 or {batch_size} == {size * column for size in sizes}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = make_model(batch_size=batch_size, sequence_length=length)
    assert model.rollout_buffer.sequence_length == column
    assert model.rollout_buffer.split(batch_size) == sizes
    assert len(caught) == (not exact)
    if caught:
        transitions = " or ".join(str(size * column) for size in sorted(set(sizes)))
        expected = f"batch_size={batch_size} is rounded to whole columns of {column} steps: minibatches have "
        assert str(caught[0].message) == f"{expected}{transitions} of the 48 transitions of a rollout"


@pytest.mark.parametrize(
    ("number", "target", "divisor"), [(1024, 256, 256), (100, 64, 50), (1009, 128, 1009), (32, 256, 32), (7, 1, 1)]
)
def test_the_nearest_divisor(number, target, divisor):
    assert nearest_divisor(number, target) == divisor


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_steps": 0}, "n_steps must be an integer of at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
        ({"sequence_length": 1.5}, "sequence_length must be an integer of at least 1, got 1.5"),
        ({"sequence_length": 5}, "sequence_length must divide the 16 steps of a rollout, got 5: it is the number of"),
        ({"buffer_device": "moon"}, "Expected one of cpu, cuda"),
        (
            {"batch_size": 1},
            "batch_size=1 leaves a minibatch of 1 in the 48 .* needs at least 2",
        ),
    ],
)
@pytest.mark.parametrize("algorithm", [RecurrentPPO, RecurrentMaskablePPO])
def test_arguments_that_are_refused(algorithm, arguments, message):
    env = make_env(actions=spaces.Discrete(3))
    with pytest.raises((ValueError, RuntimeError), match=message):
        make_model(algorithm, env, **arguments)


def test_single_transitions_are_learned_from_without_normalization(tmp_path):
    model = make_model(n_steps=1, batch_size=1, normalize_advantage=False).learn(6)
    assert all(torch.isfinite(value).all() for value in model.policy.parameters())
    make_model(n_steps=1).save(tmp_path / "model")
    loaded = RecurrentPPO.load(tmp_path / "model", env=make_env(n_envs=1))  # to act
    with pytest.raises(ValueError, match="leaves a minibatch of 1 in the 1 transitions"):
        loaded.learn(1)


def test_a_rollout_that_is_not_complete():
    with pytest.raises(ValueError, match="the rollout has 0 of 16 steps: collect it before learning"):
        next(make_model().rollout_buffer.get())


def test_states_of_the_other_steps_are_not_kept():
    model = make_model(batch_size=8).learn(48)
    assert len(model.rollout_buffer._states) == 2
    assert model.rollout_buffer.hidden_states_pi.size == 0


def test_a_rollout_is_kept_where_it_is_asked_to_be():
    model = make_model(env=make_env("dict"), buffer_device="meta", batch_size=16)
    assert type(model.rollout_buffer) is ColumnDictRolloutBuffer
    assert model.rollout_buffer.storage_device.type == "meta"
    plain = make_model(buffer_device="cpu", batch_size=16).learn(48)
    assert type(plain.rollout_buffer) is ColumnRolloutBuffer
    assert {part.device.type for part in plain.rollout_buffer._stored.values()} == {"cpu"}


@pytest.mark.parametrize("policy", ["LiquidPolicy", "MlpLstmPolicy"])
def test_models_that_sb3_contrib_saved_are_loaded(policy, tmp_path):
    theirs = make_model(sb3_contrib.RecurrentPPO, policy=policy, batch_size=16).learn(48)
    theirs.save(tmp_path / "model")
    ours = RecurrentPPO.load(tmp_path / "model", env=make_env())
    assert isinstance(ours.policy, type(theirs.policy))
    state, starts = None, np.ones(3)
    for _ in range(3):
        observations = np.stack([theirs.observation_space.sample() for _ in range(3)])
        expected, next_state = theirs.predict(observations, state, starts, deterministic=True)
        actions, state = ours.predict(observations, state, starts, deterministic=True)
        np.testing.assert_allclose(actions, expected, atol=1e-6)
        np.testing.assert_allclose(state, next_state, atol=1e-6)
        starts = np.zeros(3)
    ours.learn(48, reset_num_timesteps=False)
    assert ours.num_timesteps == 96
    ours.save(tmp_path / "ours")
    assert sb3_contrib.RecurrentPPO.load(tmp_path / "ours", env=make_env()).learn(48).num_timesteps == 48


class Own(RecurrentActorCriticPolicy):
    """A user's own policy, with sb3-contrib's loop over time."""


@pytest.mark.parametrize("policy", [Own, "MlpLstmPolicy", RecurrentActorCriticPolicy])
def test_lstm_policies_of_one_s_own_learn_the_same(policy):
    expected = make_model(policy=LstmActorCriticPolicy, batch_size=16, n_epochs=2).learn(96)
    model = make_model(policy=policy, batch_size=16, n_epochs=2).learn(96)
    for value, its in zip(model.policy.parameters(), expected.policy.parameters(), strict=True):
        torch.testing.assert_close(value, its, atol=1e-5, rtol=1e-4)
    assert isinstance(model.policy, LstmActorCriticPolicy) == (policy is not Own)


def test_a_policy_without_memory_is_told_the_right_one(tmp_path):
    PPO("MlpPolicy", make_env()).save(tmp_path / "model")
    told = "ActorCriticPolicy is not a policy for RecurrentPPO: use .*LiquidRecurrent.*, or one of the aliases .MlpLstm"
    with pytest.raises(TypeError, match=told):
        RecurrentPPO.load(tmp_path / "model")


def test_two_runs_with_one_seed_are_equal():
    first, second = (make_model(batch_size=16, sequence_length=4, n_epochs=2).learn(96) for _ in range(2))
    for value, other in zip(first.policy.parameters(), second.policy.parameters(), strict=True):
        assert torch.equal(value, other)


def test_what_is_saved_acts_and_learns_on(tmp_path):
    model = make_model(batch_size=16, sequence_length=8).learn(48)
    model.save(tmp_path / "model")
    loaded = RecurrentPPO.load(tmp_path / "model", env=make_env())
    assert (loaded.sequence_length, loaded.rollout_buffer.sequence_length) == (8, 8)
    observation = model.observation_space.sample()
    np.testing.assert_array_equal(loaded.predict(observation)[1], model.predict(observation)[1])
    assert loaded.learn(48, reset_num_timesteps=False).num_timesteps == 96
