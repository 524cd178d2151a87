"""An env whose observations, rewards and infos say which episode and step they belong to."""

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecNormalize


class Numbered(gym.Env):
    """Observations are (env, episode, step), rewards ``100 * env + step``, infos ``{"at": (episode, step)}``.

    Odd episodes are cut off, even ones end by themselves.
    """

    def __init__(self, number=0, length=4, discrete=False, as_dict=False):
        box = spaces.Box(0, 1000, (3,), np.float32)
        self.observation_space = spaces.Dict({"at": box}) if as_dict else box
        self.action_space = spaces.Discrete(2) if discrete else spaces.Box(-1, 1, (1,), np.float32)
        self.number, self.length, self.as_dict = number, length, as_dict
        self.episode, self.step_number, self.actions = -1, 0, []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode, self.step_number = self.episode + 1, 0
        return self._observe(), {"at": (self.episode, 0)}

    def step(self, action):
        self.actions.append(action)
        self.step_number += 1
        over, cut = self.step_number == self.length, self.episode % 2 == 1
        reward = 100.0 * self.number + self.step_number
        return self._observe(), reward, over and not cut, over and cut, {"at": (self.episode, self.step_number)}

    def get_state(self):
        return {"episode": self.episode, "step": self.step_number}

    def set_state(self, state):
        self.episode, self.step_number = state["episode"], state["step"]

    def _observe(self):
        at = np.array([self.number, self.episode, self.step_number], np.float32)
        return {"at": at} if self.as_dict else at


def numbered(lengths=(4,), normalize=False, subproc=False, **settings):
    """Vectorized environments, one for each length."""
    makers = [lambda n=number, k=length: Numbered(n, k, **settings) for number, length in enumerate(lengths)]
    env = SubprocVecEnv(makers, start_method="fork") if subproc else DummyVecEnv(makers)
    return VecNormalize(env) if normalize else env


def at(observation):
    """Env, episode and step of an observation."""
    values = observation["at"] if isinstance(observation, dict) else observation
    return tuple(int(value) for value in np.rint(values))
