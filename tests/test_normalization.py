import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from tests.export.models import DICT, VECTOR, Spaces, normalized
from velora_sb3._normalization import ObservationStatistics, observation_normalizer


@pytest.mark.parametrize("clip_obs", [1.5, np.inf])
@pytest.mark.parametrize("space", [VECTOR, spaces.Box(-9.0, 9.0, (2, 3), np.float64)])
def test_it_normalizes_as_vec_normalize_does(space, clip_obs, tmp_path):
    env = normalized(space, clip_obs=clip_obs, epsilon=0.1)
    observation = space.sample()
    ObservationStatistics.of(env).save(tmp_path / "statistics.json")
    for statistics in (ObservationStatistics.of(env), ObservationStatistics.load(tmp_path / "statistics.json")):
        got = statistics.normalize_obs(observation)
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, env.normalize_obs(observation))


def test_some_keys_of_a_dict():
    env = normalized(DICT, norm_obs_keys=["b", "counts"])
    observation = DICT.sample()
    got, expected = ObservationStatistics.of(env).normalize_obs(observation), env.normalize_obs(observation)
    assert list(got) == list(expected)
    for key, values in expected.items():
        np.testing.assert_array_equal(got[key], values)


def test_there_may_be_none():
    env = VecNormalize(DummyVecEnv([lambda: Spaces(VECTOR, VECTOR)]), norm_obs=False)
    assert ObservationStatistics.of(env) is None


def test_the_one_of_several_that_normalizes_observations():
    env = DummyVecEnv([lambda: Spaces(VECTOR, VECTOR)])
    assert observation_normalizer(env) is None
    assert observation_normalizer(rewards := VecNormalize(env, norm_obs=False)) is rewards
    for outer in (True, False):  # normalizes observations
        inner = VecNormalize(env, norm_obs=not outer)
        nested = VecNormalize(inner, norm_obs=outer)
        assert observation_normalizer(nested) is (nested if outer else inner)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": "other"}', '{"format": 3'])
def test_a_file_that_is_none(content, tmp_path):
    (tmp_path / "statistics.json").write_text(content)
    with pytest.raises(ValueError, match="statistics.json holds no observation statistics"):
        ObservationStatistics.load(tmp_path / "statistics.json")
