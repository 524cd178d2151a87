"""Normalized observations beside timespans that nobody has touched, from collecting to evaluating a loaded model."""

from copy import deepcopy

import numpy as np
import pytest
from sb3_contrib import RecurrentPPO
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize, sync_envs_normalization

from tests.algorithms import recurrent
from tests.compat.algorithms import BOX, OBSERVATIONS, RandomEnv, make_model
from velora_sb3 import RecurrentSAC
from velora_sb3.envs import IrregularSampling

HOLD = [0.4, 0.3, *[0] * 9, 0.3]
STEPS = {1.0, 2.0, 12.0}  # also beyond VecNormalize's clip_obs


def make_vec_env(n_envs=2, episode_length=10**6):
    inner = RandomEnv(OBSERVATIONS["vector"], BOX, episode_length)
    return VecMonitor(DummyVecEnv([lambda: IrregularSampling(deepcopy(inner), HOLD)] * n_envs))


def normalized(**arguments):
    return VecNormalize(make_vec_env(), norm_obs_keys=["observation"], **arguments)


def make(algorithm, env):
    return (recurrent.make_model if algorithm in recurrent.ALGORITHMS else make_model)(algorithm, env)


def what_is_learned_from(model):
    """Observations as the networks are given them in training."""
    if isinstance(model, PPO | RecurrentPPO):
        return model.rollout_buffer.observations
    samples = model.replay_buffer.sample(120, env=model.get_vec_normalize_env()).observations
    samples = samples.observations if isinstance(model, RecurrentSAC) else samples
    return {key: values.numpy() for key, values in samples.items()}


@pytest.mark.parametrize("algorithm", [PPO, RecurrentPPO, SAC, RecurrentSAC])
def test_training_sees_normalized_observations_and_real_timespans(algorithm):
    model = make(algorithm, normalized()).learn(96)
    seen = what_is_learned_from(model)
    assert set(np.unique(seen["timespans"])) == STEPS
    assert np.abs(seen["observation"]).max() > 1  # what the environment gives lies within [-1, 1]


@pytest.mark.parametrize("algorithm", [PPO, RecurrentPPO, SAC, RecurrentSAC])
def test_statistics_are_saved_and_loaded(algorithm, tmp_path):
    env = normalized()
    model = make(algorithm, env).learn(64)
    model.save(tmp_path / "model")
    env.save(tmp_path / "statistics")
    loaded_env = VecNormalize.load(tmp_path / "statistics", make_vec_env())
    loaded = algorithm.load(tmp_path / "model", env=loaded_env)
    raw = {"observation": np.full((2, 4), 0.3, np.float32), "timespans": np.array([[1.0], [12.0]], np.float32)}
    ours, theirs = loaded_env.normalize_obs(raw), env.normalize_obs(raw)
    assert all(np.array_equal(ours[key], theirs[key]) for key in raw)
    assert not np.allclose(ours["observation"], raw["observation"])
    np.testing.assert_array_equal(ours["timespans"], raw["timespans"])
    starts = np.ones(2)
    expected = model.predict(theirs, None, starts, deterministic=True)[0]
    np.testing.assert_array_equal(loaded.predict(ours, None, starts, deterministic=True)[0], expected)
    loaded.learn(32)


@pytest.mark.parametrize("algorithm", [PPO, RecurrentPPO, SAC, RecurrentSAC])
def test_evaluation_sees_what_training_sees(algorithm):
    inner = make_vec_env(n_envs=1, episode_length=40)
    evaluation, training = VecNormalize(inner, training=False, norm_obs_keys=["observation"]), normalized()
    model = make(algorithm, training)
    model.learn(64, callback=EvalCallback(evaluation, eval_freq=20, n_eval_episodes=1, verbose=0))
    sync_envs_normalization(training, evaluation)
    raw = {"observation": np.full((1, 4), 0.3, np.float32), "timespans": np.array([[12.0]], np.float32)}
    ours, theirs = evaluation.normalize_obs(raw), training.normalize_obs(raw)
    assert all(np.array_equal(ours[key], theirs[key]) for key in raw)
    spans = []
    evaluate_policy(model, evaluation, 3, callback=lambda seen, _: spans.extend(seen["observations"]["timespans"].flat))
    assert set(spans) >= STEPS
    assert set(spans) <= set(range(1, 13))  # an episode's end cuts the last hold
