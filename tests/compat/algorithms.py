"""Every algorithm with settings small enough for a test, and environments of every kind of space."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from sb3_contrib import ARS, QRDQN, TQC, TRPO, CrossQ, MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3

from velora_sb3 import RecurrentMaskablePPO

OFF_POLICY = {"learning_starts": 8, "buffer_size": 64, "batch_size": 8}
ON_POLICY = {"n_steps": 16}
BATCHED = {"n_steps": 16, "batch_size": 16}

SETTINGS = {
    DDPG: OFF_POLICY,
    TD3: OFF_POLICY,
    SAC: OFF_POLICY,
    TQC: OFF_POLICY,
    CrossQ: OFF_POLICY,
    DQN: OFF_POLICY,
    QRDQN: OFF_POLICY,
    PPO: {**BATCHED, "n_epochs": 2},
    A2C: ON_POLICY,
    TRPO: BATCHED,
    MaskablePPO: {**BATCHED, "n_epochs": 2},
    RecurrentPPO: {**BATCHED, "n_epochs": 2},
    RecurrentMaskablePPO: {**BATCHED, "n_epochs": 2},
    ARS: {"n_delta": 1, "n_eval_episodes": 1},
}
ALGORITHMS = list(SETTINGS)

BOX = spaces.Box(-2, 2, (2,))
DISCRETE, MULTI_DISCRETE, MULTI_BINARY = spaces.Discrete(3), spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(3)
ANY = [BOX, DISCRETE, MULTI_DISCRETE, MULTI_BINARY]
ACTIONS = {
    **{algorithm: [BOX] for algorithm in (DDPG, TD3, SAC, TQC, CrossQ)},
    **{algorithm: [DISCRETE] for algorithm in (DQN, QRDQN)},
    **dict.fromkeys((PPO, A2C, TRPO, RecurrentPPO), ANY),
    **dict.fromkeys((MaskablePPO, RecurrentMaskablePPO), ANY[1:]),
    ARS: [BOX, DISCRETE],
}

OBSERVATIONS = {
    "vector": spaces.Box(-1, 1, (4,)),
    "history": spaces.Box(-1, 1, (5, 4)),
    "image": spaces.Box(0, 255, (36, 36, 1), dtype=np.uint8),
    "dict": spaces.Dict({"vector": spaces.Box(-1, 1, (3,)), "choice": spaces.Discrete(3)}),
    "timespans": spaces.Dict({"vector": spaces.Box(-1, 1, (3,)), "timespans": spaces.Box(0, 5, (1,))}),
    "discrete": spaces.Discrete(5),
}


class RandomEnv(gym.Env):
    """Random observations; the reward tells whether the action was seen, so that learning has a gradient."""

    def __init__(self, observation_space, action_space, episode_length=7):
        self.observation_space, self.action_space = observation_space, action_space
        self.episode_length, self.steps = episode_length, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.steps = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        self.steps += 1
        return self.observation_space.sample(), float(np.sum(action)), self.steps >= self.episode_length, False, {}

    def action_masks(self):
        space = self.action_space
        count = {spaces.Discrete: lambda: space.n, spaces.MultiDiscrete: lambda: space.nvec.sum()}
        return np.ones(count.get(type(space), lambda: 2 * space.n)(), dtype=bool)


def make_env(algorithm, observations="vector", actions=None):
    """An environment in which the algorithm can act."""
    return RandomEnv(OBSERVATIONS[observations], ACTIONS[algorithm][0] if actions is None else actions)


def make_model(algorithm, env=None, policy_kwargs=None, **more):
    """A small liquid model of any algorithm."""
    env = make_env(algorithm) if env is None else env
    settings = {**SETTINGS[algorithm], "seed": 0, "device": "cpu", **more}
    return algorithm(
        "LiquidPolicy", env, policy_kwargs={"units": 8, "net_arch": [8], **(policy_kwargs or {})}, **settings
    )


def train(model, steps=32):
    """A few updates."""
    return model.learn(steps)


def parameters(model):
    """All weights as one dict of arrays."""
    return {name: tensor.detach().clone() for name, tensor in model.policy.state_dict().items()}
