"""Small models of SB3's and sb3-contrib's own policies, and an environment that keeps its own record."""

from __future__ import annotations

import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from stable_baselines3 import DDPG, DQN, PPO, SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecNormalize

from velora_sb3.callbacks import SaveCheckpoints, VeloraCallback

OFF_POLICY = {"learning_starts": 6, "buffer_size": 500, "batch_size": 4}
ON_POLICY = {"n_steps": 16, "batch_size": 16, "n_epochs": 1}
SETTINGS = {DDPG: OFF_POLICY, SAC: OFF_POLICY, DQN: OFF_POLICY, PPO: ON_POLICY, RecurrentPPO: ON_POLICY}
ALGORITHMS = list(SETTINGS)


class Steps(gym.Env):
    """Episodes of 3 to 8 steps with random rewards; with ``rewards`` a constant one, with ``length`` a constant one."""

    def __init__(self, action_space, reward=None, length=None):
        self.observation_space, self.action_space = spaces.Box(-1, 1, (3,)), action_space
        self.reward, self.length = reward, length

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = int(self.np_random.integers(3, 9)) if self.length is None else self.length
        return self._observation(), {}

    def step(self, action):
        self.left -= 1
        reward = float(self.np_random.normal()) if self.reward is None else self.reward
        return self._observation(), reward, self.left == 0, False, {}

    def _observation(self):
        return self.np_random.uniform(-1, 1, 3).astype(np.float32)


class Record(gym.Wrapper):
    """Writes each finished episode into a file: return and length. Works in another process too."""

    def __init__(self, env, path):
        super().__init__(env)
        self.path, self.sum, self.steps = Path(path), 0.0, 0

    def reset(self, **kwargs):
        self.sum, self.steps = 0.0, 0
        return self.env.reset(**kwargs)

    def step(self, action):
        result = self.env.step(action)
        self.sum, self.steps = self.sum + result[1], self.steps + 1
        if result[2] or result[3]:
            with self.path.open("a") as file:
                file.write(f"{self.sum!r} {self.steps}\n")
        return result


def recorded(tmp_path, index):
    """What the environments with this index have written."""
    path = tmp_path / f"env{index}.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(float(total), int(steps)) for total, steps in (line.split() for line in lines)]


def actions(algorithm):
    return spaces.Discrete(2) if algorithm is DQN else spaces.Box(-1, 1, (1,))


def make_env(tmp_path, algorithm=PPO, n_envs=1, subproc=False, monitor=False, normalize=False, **steps):
    """Vectorized environments; what the first writes is read with ``recorded(tmp_path, 0)``."""

    def maker(index):
        def make():
            env = Record(Steps(actions(algorithm), **steps), tmp_path / f"env{index}.txt")
            return Monitor(env) if monitor else env

        return make

    makers = [maker(index) for index in range(n_envs)]
    env = SubprocVecEnv(makers, start_method="fork") if subproc else DummyVecEnv(makers)
    return VecNormalize(env) if normalize else env


def make_model(algorithm, env, **settings):
    policy = "MlpLstmPolicy" if algorithm is RecurrentPPO else "MlpPolicy"
    kwargs = {"net_arch": [4]} if algorithm is not RecurrentPPO else {"net_arch": [4], "lstm_hidden_size": 4}
    settings = {"policy_kwargs": kwargs, "seed": 0, "device": "cpu", **SETTINGS.get(algorithm, {}), **settings}
    return algorithm(policy, env, **settings)


def fill(path, text="precious"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def weights(model):
    return torch.nn.utils.parameters_to_vector(model.policy.parameters()).detach().clone()


def saver(tmp_path, dirname="run", **settings):
    return SaveCheckpoints(dirname, root=tmp_path / "checkpoints", **settings)


def names(save):
    """Of the checkpoints that a SaveCheckpoints has written."""
    return sorted(path.name for path in save.saves.iterdir())


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


class Listener(VeloraCallback):
    """Notes everything that it is told."""

    def __init__(self):
        super().__init__()
        self.told, self.heard = [], []

    def _on_start(self):
        self.told.append("start")

    def _on_episode(self, episode):
        self.heard.append(episode)
        return True

    def _on_every_step(self):
        self.told.append("step")
        return True

    def _on_end(self):
        self.told.append("end")

    def told_without_steps(self):
        return [word for word in self.told if word != "step"]


class RaiseAt(BaseCallback):
    """Raises at a certain call."""

    def __init__(self, call, error=KeyboardInterrupt):
        super().__init__()
        self.call, self.error = call, error

    def _on_step(self):
        if self.n_calls == self.call:
            raise self.error
        return True


class StopAt(BaseCallback):
    """Stops training at a certain call of each run."""

    def __init__(self, call):
        super().__init__()
        self.call = call

    def _on_training_start(self):
        self.n_calls = 0

    def _on_step(self):
        return self.n_calls < self.call
