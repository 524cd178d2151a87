"""An env whose frames tell which env, which of its episodes and which step they show."""

import random
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import SubprocVecEnv

from velora_sb3.video.reader import read_video

SHADE = 10  # grey levels between two numbers
OBSERVATIONS = {
    "vector": spaces.Box(-1, 1, (3,), np.float32),
    "image": spaces.Box(0, 255, (36, 40, 3), np.uint8),
    "dict": spaces.Dict({"near": spaces.Box(-1, 1, (2,), np.float32), "far": spaces.Box(-1, 1, (3,), np.float32)}),
}


class Counting(gym.Env):
    """Observations are random, from the env's own generator; frames are three bands: env, episode, step.

    ``render()`` also draws from the global generators, as a careless renderer might.
    """

    metadata = {"render_modes": ["rgb_array", "ansi"], "render_fps": 4}

    def __init__(self, render_mode=None, length=5, number=0, observations="vector", discrete=False, size=(32, 48)):
        self.render_mode, self.length, self.number, self.size = render_mode, length, number, size
        self.observation_space = OBSERVATIONS[observations]
        self.action_space = spaces.Discrete(3) if discrete else spaces.Box(-2, 2, (1,), np.float32)
        self.episode, self.step_number = -1, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode, self.step_number = self.episode + 1, 0
        return self._observe(), {}

    def step(self, action):
        self.step_number += 1
        return self._observe(), float(np.sum(action)), self.step_number == self.length, False, {}

    def render(self):
        if self.render_mode != "rgb_array":
            return "text"
        random.random(), np.random.rand(), torch.rand(1)
        height, width = self.size
        frame = np.zeros((height, 3, width // 3, 3), np.uint8)
        for band, value in enumerate((self.number, self.episode, self.step_number)):
            frame[:, band] = SHADE * value % 256
        return frame.reshape(height, width, 3)

    def _observe(self):
        return _draw(self.observation_space, self.np_random)

    def action_masks(self):
        return np.array([True, False, self.step_number % 2 == 0])


def _draw(space, generator):
    if isinstance(space, spaces.Dict):
        return {key: _draw(part, generator) for key, part in space.spaces.items()}
    return generator.uniform(space.low, space.high).astype(space.dtype)


gym.register("tests/Counting-v0", Counting)


def counting(**kwargs):
    """A function that makes one, with a spec."""
    return lambda: gym.make("tests/Counting-v0", **kwargs)


def subprocesses(env_fns):
    """A SubprocVecEnv whose processes need not import torch first."""
    return SubprocVecEnv(env_fns, start_method="fork")


def shown(path: Path) -> list[tuple[int, int, int]]:
    """Env, episode and step of every frame of a video."""
    bands = read_video(path).astype(float)
    count, height, width = bands.shape[:3]
    means = bands.reshape(count, height, 3, width // 3, 3)[:, 4:-4, :, 4:-4].mean(axis=(1, 3, 4))
    return [tuple(int(value) for value in frame) for frame in np.rint(means / SHADE)]
