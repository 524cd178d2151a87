import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from tests.callbacks.counting_env import subprocesses
from tests.callbacks.runs import Steps
from velora_sb3.callbacks.plots.episode_values import EpisodeValues


class Portfolio(gym.Wrapper):
    """Adds the day's number to its value every day, on the last one too if ``late``."""

    def __init__(self, env, late=True, in_place=False):
        super().__init__(env)
        self.late, self.in_place, self.asset_memory = late, in_place, [100.0]

    def reset(self, **kwargs):
        if self.in_place:
            self.asset_memory[:] = [100.0]
        else:
            self.asset_memory = [100.0]
        return self.env.reset(**kwargs)

    def step(self, action):
        observation, reward, terminated, truncated, info = self.env.step(action)
        if self.late or not terminated:
            self.asset_memory.append(100.0 + len(self.asset_memory))
        return observation, reward, terminated, truncated, {**info, "worth": 2 * self.asset_memory[-1]}


def environments(kind, n_envs=2, wrapper=Portfolio, **kwargs):
    from stable_baselines3.common.vec_env import DummyVecEnv

    def make(length):
        return lambda: wrapper(Steps(spaces.Discrete(2), length=length), **kwargs)

    env = (DummyVecEnv if kind == "here" else subprocesses)([make(4 + index) for index in range(n_envs)])
    env.reset()
    return env


def values_at_ends(env, values, steps=10):
    """What they say at the ends of episodes: environment 0 has them after 4 and 8 steps, 1 after 5 and 10."""
    values.start(env)
    found = []
    for timestep in range(2, 2 * steps + 1, 2):
        _, _, dones, infos = env.step(np.zeros(2, dtype=int))
        ended = np.flatnonzero(dones).tolist()
        values.step(timestep, {"infos": infos}, ended)
        found += [(timestep, index, values.pop(timestep, index)) for index in ended]
    env.close()
    return found


def ends(first, second):
    return [(8, 0, first), (10, 1, second), (16, 0, first), (20, 1, second)]


@pytest.mark.parametrize("in_place", [False, True])
def test_asset_memory_although_the_environment_was_reset(in_place):
    env = environments("here", in_place=in_place)
    # A list that is emptied in place is lost with the last day; one that is replaced is not.
    assert values_at_ends(env, EpisodeValues(None)) == (ends(103, 104) if in_place else ends(104, 105))


def test_asset_memory_of_other_processes():
    """As FinRL's environments keep it: the last step only tells that the episode is over."""
    assert values_at_ends(environments("there", late=False), EpisodeValues(None)) == ends(103, 104)


@pytest.mark.parametrize("kind", ["here", "there"])
@pytest.mark.parametrize("value", ["worth", lambda info: info["worth"]])
def test_a_value_from_info(kind, value):
    assert values_at_ends(environments(kind), EpisodeValues(value)) == ends(208, 210)


@pytest.mark.parametrize("kind", ["here", "there"])
def test_environments_without_values(kind):
    env = environments(kind, wrapper=gym.Wrapper)
    assert [np.isnan(value) for *_, value in values_at_ends(env, EpisodeValues(None))] == [True] * 4


def test_a_key_that_is_not_there():
    with pytest.raises(ValueError, match="value='wealth' is not in info at the end of an episode; info has .*worth"):
        values_at_ends(environments("here"), EpisodeValues("wealth"))


@pytest.mark.parametrize("value", [3, "", ["worth"]])
def test_bad_values(value):
    with pytest.raises(ValueError, match="value must be a key of info, a function of info, or None, got"):
        EpisodeValues(value)
