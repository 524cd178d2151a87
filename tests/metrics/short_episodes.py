"""An environment with quick episodes that keeps its own record of them, and models that train on it in no time."""

import gymnasium as gym
import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

from velora_sb3.callbacks import RecordMetrics


class ShortEpisodes(gym.Env):
    """Episodes of one to four steps with random rewards; ``record`` gets each one's return and length."""

    def __init__(self, record=None, reward=None):
        self.observation_space = gym.spaces.Box(-1, 1, (1,), np.float32)
        self.action_space = gym.spaces.Discrete(2)
        self.record = record or (lambda episode_return, length: None)
        self.reward = reward

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.rewards, self.length = [], int(self.np_random.integers(1, 5))
        return np.zeros(1, np.float32), {}

    def step(self, action):
        # Sums of eighths are exact in any order, and in float32.
        drawn = int(self.np_random.integers(-80, 80)) / 8
        self.rewards.append(drawn if self.reward is None else self.reward)
        done = len(self.rewards) == self.length
        if done:
            self.record(sum(self.rewards), self.length)
        return np.zeros(1, np.float32), self.rewards[-1], done, False, {}


def ppo(env=None, n_envs=1, kind=PPO, **settings):
    env = env or DummyVecEnv([ShortEpisodes] * n_envs)
    return kind(
        "MlpPolicy", env, **{"n_steps": 64, "batch_size": 32, "n_epochs": 1, "seed": 0, "device": "cpu", **settings}
    )


def recorded(timesteps, path, *others, model=None, reset_num_timesteps=True, **settings):
    """Train and record; the model and the callback."""
    model, callback = model or ppo(), RecordMetrics(path, **settings)
    model.learn(timesteps, callback=[callback, *others], reset_num_timesteps=reset_num_timesteps)
    return model, callback


class Do(BaseCallback):
    """Does something once, at the first step from a timestep on; what it returns tells whether to go on."""

    def __init__(self, timestep, action):
        super().__init__()
        self.timestep, self.action = timestep, action

    def _on_step(self):
        if self.action is not None and self.num_timesteps >= self.timestep:
            action, self.action = self.action, None
            return action() is not False
        return True
