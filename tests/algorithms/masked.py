"""Environments with action masks, and small models for them."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from velora_sb3 import RecurrentMaskablePPO

ACTIONS = {
    "Discrete": spaces.Discrete(4),
    "MultiDiscrete": spaces.MultiDiscrete([3, 2, 4]),
    "MultiBinary": spaces.MultiBinary(3),
}
LSTM = {"lstm_hidden_size": 8, "net_arch": [8]}
LIQUID = {"units": 8, "net_arch": [8]}


def choices(space):
    """Number of choices in each dimension of an action."""
    if isinstance(space, spaces.Discrete):
        return [int(space.n)]
    return [2] * space.n if isinstance(space, spaces.MultiBinary) else space.nvec.tolist()


def masks_of(space, place):
    """The masks at a place: whatever else is asked for, at least one choice in each dimension is allowed."""
    random = np.random.default_rng([int(number) for number in place])
    masks = []
    for count in choices(space):
        mask = random.random(count) < 0.5
        mask[random.integers(count)] = True
        masks.append(mask)
    return np.concatenate(masks)


def allowed(space, masks, action):
    """Whether masks allow an action."""
    starts = np.cumsum([0, *choices(space)[:-1]])
    return bool(masks.astype(bool)[starts + np.atleast_1d(action).astype(int)].all())


class PlacesEnv(gym.Env):
    """An observation is the place ``(number of the env, episode, step)``, and every place has masks of its own.

    Episodes of different lengths, so that those of several environments end at different times. An action that is
    not allowed raises an error.
    """

    def __init__(self, actions="Discrete", observations="vector", number=0, strict=True):
        self.action_space = ACTIONS[actions]
        place = spaces.Box(0, 100, (3,))
        timed = spaces.Dict({"place": place, "timespans": spaces.Box(0, 5, (1,))})
        self.observation_space = timed if observations == "dict" else place
        self.number, self.episode, self.strict, self.violations = number, -1, strict, 0

    @property
    def place(self):
        return np.array([self.number, self.episode, self.steps], dtype=np.float32)

    def _observe(self):
        timespans = np.full(1, 0.5 + self.steps % 3, dtype=np.float32)
        timed = isinstance(self.observation_space, spaces.Dict)
        return {"place": self.place, "timespans": timespans} if timed else self.place

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode, self.steps = self.episode + 1, 0
        return self._observe(), {}

    def action_masks(self):
        return masks_of(self.action_space, self.place)

    def step(self, action):
        if not allowed(self.action_space, self.action_masks(), action):
            self.violations += 1
            assert not self.strict, f"{action} is not allowed at {self.place}"
        self.steps += 1
        done = self.steps == 3 + (self.number + 2 * self.episode) % 4
        return self._observe(), float(np.sum(action)), done, False, {}


class RecallEnv(gym.Env):
    """A cue of +1 or -1 is shown at the first step alone; the last action must tell which it was.

    Action 2 waits. Answering is allowed at the last step only, and waiting at all others. The observation of the last
    step is the same for both cues.
    """

    waits = 3

    def __init__(self):
        self.observation_space = spaces.Box(-1, 1, (2,))
        self.action_space = spaces.Discrete(3)

    def _observe(self):
        return np.array([self.cue * 2 - 1 if self.steps == 0 else 0, self.steps == self.waits], dtype=np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.cue = 0, int(self.np_random.integers(2))
        return self._observe(), {}

    def action_masks(self):
        return np.array([True, True, False] if self.steps == self.waits else [True, False, True])

    def step(self, action):
        assert self.action_masks()[action], f"{action} is not allowed at step {self.steps}"
        done, reward = self.steps == self.waits, float(action == self.cue)
        self.steps += 1
        return self._observe(), reward if done else 0.0, done, False, {}


def make_env(n_envs=1, **kwargs):
    """Several environments that differ in their number."""
    return DummyVecEnv([lambda number=number: PlacesEnv(number=number, **kwargs) for number in range(n_envs)])


def make_model(env=None, policy="LiquidPolicy", policy_kwargs=None, **more):
    """A small model."""
    small = {**(LIQUID if policy == "LiquidPolicy" else LSTM), **(policy_kwargs or {})}
    settings = {"n_steps": 32, "batch_size": 32, "n_epochs": 1, "seed": 0, "device": "cpu", **more}
    return RecurrentMaskablePPO(policy, make_env() if env is None else env, policy_kwargs=small, **settings)
