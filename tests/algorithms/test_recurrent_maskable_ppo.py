"""RecurrentPPO and MaskablePPO in one: collecting, learning, saving, and what is refused."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import MaskablePPO
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from sb3_contrib.common.wrappers import ActionMasker
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import SubprocVecEnv, VecNormalize

from tests.algorithms.masked import ACTIONS, LIQUID, LSTM, PlacesEnv, make_env, make_model, masks_of
from tests.compat.algorithms import OBSERVATIONS, RandomEnv
from velora_sb3 import RecurrentMaskablePPO, RecurrentPPO, policies


def weights(model):
    return {name: value.clone() for name, value in model.policy.state_dict().items()}


def changed(before, after):
    return [name for name, value in before.items() if not torch.equal(value, after[name])]


@pytest.mark.parametrize("actions", ACTIONS)
@pytest.mark.parametrize("policy", ["LiquidPolicy", "MlpLstmPolicy"])
def test_both_memories_learn_and_no_forbidden_action_is_taken(policy, actions):
    env = make_env(3, actions=actions)
    model = make_model(env, policy, n_epochs=2)
    before = weights(model)
    model.learn(192)
    moved = changed(before, weights(model))
    assert any(name.startswith("lstm_actor") for name in moved)
    assert any(name.startswith("lstm_critic") for name in moved)
    assert [place.violations for place in env.envs] == [0, 0, 0]
    assert all(torch.isfinite(value).all() for value in weights(model).values())


@pytest.mark.parametrize(
    ("policy", "observations"),
    [("CnnLstmPolicy", "image"), ("MultiInputLstmPolicy", "dict"), ("MlpLstmPolicy", "vector")],
)
def test_the_lstm_policies_take_what_sb3_contrib_s_do(policy, observations):
    env = RandomEnv(OBSERVATIONS[observations], ACTIONS["Discrete"])
    env.action_masks = lambda: np.array([False, True, False, False])
    model = make_model(env, policy).learn(32)
    assert set(model.rollout_buffer.actions.flatten()) == {1}


@pytest.mark.parametrize("policy", ["LiquidPolicy", "MlpLstmPolicy"])
def test_with_everything_allowed_it_is_recurrent_ppo(policy):
    def learned(algorithm):
        env = RandomEnv(spaces.Box(-1, 1, (4,)), ACTIONS["Discrete"])  # its masks allow everything
        small = LIQUID if policy == "LiquidPolicy" else LSTM
        settings = {"n_steps": 32, "batch_size": 16, "n_epochs": 2, "seed": 0, "device": "cpu"}
        return weights(algorithm(policy, env, policy_kwargs=small, **settings).learn(96))

    ours, theirs = learned(RecurrentMaskablePPO), learned(RecurrentPPO)
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, atol=1e-5, rtol=1e-4)


def test_environments_in_processes_of_their_own():
    model = make_model(SubprocVecEnv([PlacesEnv, PlacesEnv]), n_steps=16).learn(32)
    buffer = model.rollout_buffer  # flattened by train(), rows of one environment after the other
    for place, masks in zip(buffer.observations, buffer.action_masks, strict=True):
        np.testing.assert_array_equal(masks, masks_of(model.action_space, place))
    model.env.close()


def test_masks_pass_through_normalization():
    env = VecNormalize(make_env(2))
    model = make_model(env).learn(64)
    assert not model.rollout_buffer.action_masks.all()
    assert [place.violations for place in env.venv.envs] == [0, 0]


class AsksThePolicy(BaseCallback):
    """Calls the policy as collecting does, when the environments have moved on already."""

    def ask(self):
        model = self.model
        observations = torch.as_tensor(model._last_obs)
        model.policy(observations, model._last_lstm_states, torch.zeros(model.n_envs))

    def _on_rollout_start(self):
        self.ask()

    def _on_step(self):
        self.ask()
        return True


def test_a_callback_may_call_the_policy():
    model = make_model(make_env(2)).learn(64, callback=AsksThePolicy())
    for place, masks in zip(model.rollout_buffer.observations, model.rollout_buffer.action_masks, strict=True):
        np.testing.assert_array_equal(masks, masks_of(model.action_space, place))


class Stop(BaseCallback):
    def _on_step(self):
        return self.n_calls < 10


def test_nothing_is_left_on_the_policy_after_collecting():
    model = make_model()
    model.learn(32, callback=Stop())
    model.learn(32)
    assert not model.policy._forward_pre_hooks
    assert model.policy._action_masks is None


def test_without_masking_everything_is_allowed():
    env = make_env(2, strict=False)
    model = make_model(env).learn(64, use_masking=False)
    assert model.rollout_buffer.action_masks.all()
    assert all(place.violations > 0 for place in env.envs)
    taken = [place.violations for place in env.envs]
    model.learn(64)  # masks are back
    assert [place.violations for place in env.envs] == taken


def test_an_environment_without_masks():
    model = RecurrentMaskablePPO("LiquidPolicy", "CartPole-v1", n_steps=16, batch_size=16, device="cpu")
    with pytest.raises(
        ValueError, match="the environment has no action_masks.*: wrap it in sb3-contrib's ActionMasker"
    ):
        model.learn(16)
    model.learn(16, use_masking=False)


def test_an_action_masker():
    env = ActionMasker(PlacesEnv(), lambda env: np.array([False, False, True, False]))
    env.unwrapped.strict = False
    model = make_model(env).learn(32)
    assert set(model.rollout_buffer.actions.flatten()) == {2}


def test_two_runs_with_one_seed_are_equal():
    first, second = (make_model(make_env(2), seed=3, n_epochs=2).learn(128) for _ in range(2))
    assert changed(weights(first), weights(second)) == []
    third = make_model(make_env(2), seed=4, n_epochs=2).learn(128)
    assert changed(weights(first), weights(third)) != []


@pytest.mark.parametrize("policy", ["LiquidPolicy", "MlpLstmPolicy"])
def test_what_is_saved_acts_and_learns_on(policy, tmp_path):
    model = make_model(make_env(2, observations="dict"), policy.replace("Mlp", "MultiInput")).learn(64)
    model.predict(model.observation_space.sample(), episode_start=np.ones(1))
    model.save(tmp_path / "model")
    loaded = RecurrentMaskablePPO.load(tmp_path / "model", env=make_env(2, observations="dict"))
    assert loaded._predicted_state is None
    state, starts = None, np.ones(1)
    for step in range(5):
        observation = model.observation_space.sample()
        masks = masks_of(model.action_space, [step])
        expected, next_state = model.predict(observation, state, starts, True, masks)
        action, its_state = loaded.predict(observation, state, starts, True, masks)
        np.testing.assert_array_equal(action, expected)
        np.testing.assert_array_equal(its_state, next_state)
        state, starts = next_state, np.zeros(1)
    before = weights(loaded)
    loaded.learn(64, reset_num_timesteps=False)
    assert loaded.num_timesteps == 128
    assert changed(before, weights(loaded))


def test_actions_of_a_box_are_refused():
    with pytest.raises(AssertionError, match="The algorithm only supports .*MultiBinary"):
        RecurrentMaskablePPO("LiquidPolicy", "Pendulum-v1")


@pytest.mark.parametrize(
    "wrong", [RecurrentActorCriticPolicy, policies.LiquidRecurrentActorCriticPolicy, policies.LiquidActorCriticPolicy]
)
def test_a_policy_without_masks_is_told_the_right_one(wrong):
    right = "use velora_sb3.policies.LiquidRecurrentMaskableActorCriticPolicy, or one of the aliases 'MlpLstmPolicy'"
    with pytest.raises(TypeError, match=f"{wrong.__name__} is not a policy for RecurrentMaskablePPO: {right}"):
        RecurrentMaskablePPO(wrong, "CartPole-v1")


@pytest.mark.parametrize("algorithm", [RecurrentPPO, MaskablePPO])
def test_its_policy_is_no_other_algorithm_s(algorithm):
    name = "LiquidRecurrentMaskableActorCriticPolicy"
    with pytest.raises(TypeError, match=f"{name} is not a policy for {algorithm.__name__}: use velora_sb3.policies"):
        algorithm(policies.LiquidRecurrentMaskableActorCriticPolicy, "CartPole-v1")
