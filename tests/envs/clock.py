"""An environment whose state says how it was treated, and whose info tells the time."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
from gymnasium import spaces


class ClockEnv(gym.Env):
    """Observes its steps, the last action and a random number; the reward of its ``n``-th step is ``n``.

    ``infos`` are the infos of reset and each step; an episode ends with them, or after ``length`` steps.
    """

    metadata = {"render_modes": ["rgb_array"]}

    def __init__(self, length=1000, infos=None, render_mode=None):
        self.length, self.infos, self.render_mode = length, infos, render_mode
        self.observation_space = spaces.Box(-1e6, 1e6, (3,), np.float32)
        self.action_space = spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._observe(0.0)

    def step(self, action):
        self.steps += 1
        observation, info = self._observe(float(action[0]))
        return observation, float(self.steps), self.steps >= self.length, False, info

    def _observe(self, action):
        observation = np.array([self.steps, action, self.np_random.random()], np.float32)
        return observation, {} if self.infos is None else dict(self.infos[self.steps])

    def render(self):
        return np.full((4, 4, 3), self.steps, np.uint8)


def act(env, action=0.5):
    """One step."""
    return env.step(np.array([action], np.float32))


def spans(env, steps):
    """The timespans of an episode's first observations."""
    first = env.reset(seed=0)[0]["timespans"]
    seen = [first, *(act(env)[0]["timespans"] for _ in range(steps))]
    assert all(span.shape == (1,) and span.dtype == np.float32 for span in seen)
    return [span.item() for span in seen]
