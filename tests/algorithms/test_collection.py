"""While collecting, the memory follows what really happened."""

import numpy as np
import pytest
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

from tests.algorithms.recurrent import ALGORITHMS, DISCRETE_ACTIONS, make_env, make_model, memory_by_hand, noisy
from velora_sb3 import RecurrentMaskablePPO, RecurrentSAC

STEPS = 51  # episodes have 7 steps: the last is in mid-episode


def assert_memory_is_right(model):
    memory, previous = memory_by_hand(model)
    np.testing.assert_allclose(model._collection.acting[0], memory, atol=1e-5)
    np.testing.assert_allclose(model._collection.acting[1], previous, atol=1e-6)
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


class StopAt(BaseCallback):
    """Stops training at a step, in mid-transition as any callback does."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def _on_step(self):
        return self.num_timesteps < self.step


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_run_that_a_callback_stopped_goes_on_in_a_new_episode(algorithm):
    model = make_model(algorithm, learning_starts=10_000)
    model.learn(40, callback=StopAt(14))  # the step that ends the second episode is taken, but not stored
    assert model.replay_buffer.size() == 13
    model.learn(20, reset_num_timesteps=False)
    assert model.replay_buffer.timeouts[12, 0] == 1
    assert_memory_is_right(model)


def test_a_model_loaded_with_another_number_of_environments_goes_on(tmp_path):
    algorithm = ALGORITHMS[0]
    model = make_model(algorithm, DummyVecEnv([lambda: make_env(algorithm)] * 3)).learn(60)
    model.save(tmp_path / "model")
    loaded = algorithm.load(tmp_path / "model", env=DummyVecEnv([lambda: make_env(algorithm)]))
    loaded.learn(20)
    assert loaded._collection.acting[0].shape[0] == 1


def test_a_callback_that_fails_at_the_start_leaves_the_memory_s_place():
    class Failing(BaseCallback):
        def _init_callback(self):
            raise RuntimeError("no")

        def _on_step(self):
            return True

    model = make_model(ALGORITHMS[0], learning_starts=10_000).learn(14)  # at an episode's end
    with pytest.raises(RuntimeError, match="no"):
        model.learn(5, callback=Failing(), reset_num_timesteps=False)
    model.learn(5, reset_num_timesteps=False)
    assert_memory_is_right(model)


@pytest.mark.parametrize("algorithm", [*ALGORITHMS, RecurrentPPO, RecurrentMaskablePPO])
def test_an_observation_that_is_nan_is_forgotten_at_the_next_episode(algorithm):
    model = make_model(algorithm) if algorithm in ALGORITHMS else algorithm("LiquidPolicy", "CartPole-v1")
    clean = np.ones((1, *model.observation_space.shape), np.float32)
    broken = tuple(np.full_like(part, np.nan) for part in model.predict(clean)[1])
    expected, fresh = model.predict(clean, None, np.ones(1), deterministic=True)
    action, state = model.predict(clean, broken, np.ones(1), deterministic=True)
    np.testing.assert_array_equal(action, expected)
    for part, expected in zip(state, fresh, strict=True):
        np.testing.assert_array_equal(part, expected)


def test_a_stored_state_that_is_nan_is_forgotten_at_the_next_episode():
    model = make_model(RecurrentSAC, stored_state=True).learn(12)
    collection = model._collection
    collection.memories[:], collection.acting[1][:], model._last_episode_starts[:] = np.nan, np.nan, True
    model._step_memories(collection.acting[0])
    assert np.isfinite(collection.stored).all()
    assert np.isfinite(collection.memories[:, model.policy.critic.features_extractor.stored_part]).all()
