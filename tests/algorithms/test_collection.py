"""While collecting, the memory follows what really happened."""

import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv

from tests.algorithms.recurrent import ALGORITHMS, DISCRETE_ACTIONS, make_env, make_model, memory_by_hand, noisy

STEPS = 51  # episodes have 7 steps: the last is in mid-episode


def assert_memory_is_right(model):
    memory, previous = memory_by_hand(model)
    np.testing.assert_allclose(model._acting_state[0], memory, atol=1e-5)
    np.testing.assert_allclose(model._acting_state[1], previous, atol=1e-6)
    assert np.abs(memory).max() > 1e-3


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("n_envs", [1, 3])
def test_on_random_warm_up_actions(algorithm, n_envs):
    env = DummyVecEnv([lambda: make_env(algorithm)] * n_envs)
    model = make_model(algorithm, env, learning_starts=10_000)
    assert_memory_is_right(model.learn(STEPS * n_envs))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("n_envs", [1, 3])
def test_on_the_policy_s_own_actions_with_noise_and_epsilon(algorithm, n_envs):
    env = DummyVecEnv([lambda: make_env(algorithm)] * n_envs)
    exploring = {"exploration_final_eps": 0.5} if algorithm in DISCRETE_ACTIONS else noisy(algorithm)
    model = make_model(algorithm, env, learning_starts=0, gradient_steps=0, **exploring)
    assert_memory_is_right(model.learn(STEPS * n_envs))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_learn_called_again_to_go_on_keeps_the_memory(algorithm):
    whole = make_model(algorithm, learning_starts=10_000).learn(40)
    halves = make_model(algorithm, learning_starts=10_000).learn(18)
    halves.learn(22, reset_num_timesteps=False)
    assert_memory_is_right(halves)
    assert halves.replay_buffer.dones.sum() == whole.replay_buffer.dones.sum() == 5


def test_learn_called_again_from_the_start_cuts_the_episode_in_flight():
    model = make_model(ALGORITHMS[0], learning_starts=10_000).learn(18)
    model.learn(20)
    ends = np.flatnonzero(model.replay_buffer.dones[:38, 0])
    assert ends.tolist() == [6, 13, 17, 24, 31]
    assert model.replay_buffer.timeouts[17, 0] == 1
    assert_memory_is_right(model)


@pytest.mark.parametrize("algorithm", DISCRETE_ACTIONS)
def test_the_memory_advances_on_random_actions_of_predict_too(algorithm):
    model = make_model(algorithm)
    model.exploration_rate = 1.0
    observation = np.full((2, 4), 0.5, dtype=np.float32)
    _, greedy = model.policy.predict(observation, None, np.ones(2), deterministic=True)
    action, state = model.predict(observation, None, np.ones(2), deterministic=False)
    np.testing.assert_array_equal(state[0], greedy[0])
    np.testing.assert_array_equal(state[1].argmax(axis=1), action)
