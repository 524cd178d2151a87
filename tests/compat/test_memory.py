"""What every algorithm with a memory promises: the recurrent off-policy ones, and RecurrentPPO."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from tests.algorithms.recurrent import ALGORITHMS as OFF_POLICY
from tests.algorithms.recurrent import DISCRETE_ACTIONS
from tests.algorithms.recurrent import make_model as make_off_policy_model
from tests.compat.algorithms import BOX, DISCRETE, RandomEnv
from tests.compat.algorithms import make_model as make_any_model
from velora_sb3 import StatefulPredictor

ALGORITHMS = [*OFF_POLICY, RecurrentPPO]
LENGTHS = (3, 5)  # of the episodes of two environments


def make_env(algorithm, length=7, seed=0):
    """An environment that gives the same observations each time it is made."""
    space = spaces.Box(-1, 1, (4,))
    space.seed(seed)
    return RandomEnv(space, DISCRETE if algorithm in DISCRETE_ACTIONS else BOX, length)


def make_model(algorithm, env=None):
    build = make_any_model if algorithm is RecurrentPPO else make_off_policy_model
    return build(algorithm, make_env(algorithm) if env is None else env)


@pytest.fixture(params=ALGORITHMS, ids=lambda algorithm: algorithm.__name__)
def model(request):
    return make_model(request.param).learn(48)


def returns_by_hand(env, act, episodes):
    """``act`` takes an observation and whether an episode starts."""
    totals = []
    for _ in range(episodes):
        observation, total, done, start = env.reset()[0], 0.0, False, True
        while not done:
            observation, reward, done, _, _ = env.step(act(observation, start))
            start, total = False, total + reward
        totals.append(total)
    return totals


def with_states(model):
    state = None

    def act(observation, start):
        nonlocal state
        action, state = model.predict(observation, state, np.array([start]), deterministic=True)
        return action

    return act


def with_a_predictor(model):
    predictor = StatefulPredictor(model)

    def act(observation, start):
        if start:
            predictor.reset()
        return predictor.predict(observation, deterministic=True)[0]

    return act


@pytest.mark.parametrize("acting", [with_states, with_a_predictor])
def test_evaluate_policy_is_a_loop_written_by_hand_also_where_environments_end_at_different_steps(model, acting):
    def envs():
        return [make_env(type(model), length, seed) for seed, length in enumerate(LENGTHS)]

    vectorized = DummyVecEnv([lambda env=env: env for env in envs()])
    returns, lengths = evaluate_policy(model, vectorized, 6, return_episode_rewards=True, warn=False)
    by_hand = [total for env in envs() for total in returns_by_hand(env, acting(model), 3)]
    assert sorted(lengths) == sorted(LENGTHS * 3)
    np.testing.assert_allclose(sorted(returns), sorted(by_hand), rtol=1e-5)


def test_one_observation_and_a_batch_are_told_apart_and_the_state_has_a_row_for_each(model):
    observations = np.stack([model.observation_space.sample() for _ in range(3)])
    first, state = model.predict(observations, None, np.ones(3), deterministic=True)
    second, _ = model.predict(observations, state, np.zeros(3), deterministic=True)
    assert first.shape == (3, *model.action_space.shape)
    for row, observation in enumerate(observations):
        alone, own = model.predict(observation, None, np.ones(1), deterministic=True)
        assert alone.shape == model.action_space.shape
        np.testing.assert_allclose(alone, first[row], atol=1e-6)
        np.testing.assert_allclose(own[0].reshape(-1), state[0].reshape(3, -1)[row], atol=1e-6)
        again, _ = model.predict(observation, own, np.zeros(1), deterministic=True)
        np.testing.assert_allclose(again, second[row], atol=1e-6)


def test_an_episode_start_forgets_in_its_own_environment_alone(model):
    observations = np.stack([model.observation_space.sample() for _ in range(2)])
    _, fresh = model.predict(observations, None, np.ones(2), deterministic=True)
    _, kept = model.predict(observations, fresh, np.zeros(2), deterministic=True)
    _, mixed = model.predict(observations, fresh, np.array([True, False]), deterministic=True)
    rows = [state[0].reshape(2, -1) for state in (fresh, kept, mixed)]
    np.testing.assert_allclose(rows[2][0], rows[0][0], atol=1e-6)
    np.testing.assert_allclose(rows[2][1], rows[1][1], atol=1e-6)
    assert not np.allclose(rows[1][0], rows[0][0])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_eval_callback_in_normalized_environments_leaves_the_run_as_it_would_be(algorithm, tmp_path):
    def envs(**settings):
        return VecNormalize(DummyVecEnv([lambda: make_env(algorithm)] * 2), **settings)

    evaluating = EvalCallback(
        envs(training=False, norm_reward=False),
        eval_freq=10,
        n_eval_episodes=2,
        verbose=0,
        warn=False,
        best_model_save_path=str(tmp_path),
    )
    model = make_model(algorithm, envs()).learn(96, callback=[evaluating])
    assert np.isfinite(evaluating.best_mean_reward)
    alone = make_model(algorithm, envs()).learn(96)
    for name, value in alone.policy.state_dict().items():
        assert torch.equal(model.policy.state_dict()[name], value), name
    best = algorithm.load(tmp_path / "best_model")
    _, lengths = evaluate_policy(best, evaluating.eval_env, 2, return_episode_rewards=True, warn=False)
    assert lengths == [7, 7]


def test_what_is_saved_evaluates_as_it_did(model, tmp_path):
    model.save(tmp_path / "model")
    loaded = type(model).load(tmp_path / "model")
    results = [
        evaluate_policy(each, DummyVecEnv([lambda: make_env(type(model))]), 3, return_episode_rewards=True, warn=False)
        for each in (model, loaded)
    ]
    assert results[0] == results[1]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_saved_run_goes_on_with_another_number_of_environments(algorithm, tmp_path):
    make_model(algorithm).learn(48).save(tmp_path / "model")
    loaded = algorithm.load(tmp_path / "model", env=DummyVecEnv([lambda: make_env(algorithm)] * 3))
    before = {name: value.clone() for name, value in loaded.policy.state_dict().items()}
    loaded.learn(96, reset_num_timesteps=False)
    assert loaded.num_timesteps == 144
    assert any(not torch.equal(value, before[name]) for name, value in loaded.policy.state_dict().items())
