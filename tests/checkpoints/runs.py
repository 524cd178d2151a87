"""Runs that are cut in two, and the same runs in one piece.

``python -m tests.checkpoints.runs DIRECTORY STEPS CASE ...`` trains each case until it has saved itself, and on for a
while, and then kills itself.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib import ARS, QRDQN, TQC, TRPO, CrossQ, MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3, HerReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.envs import BitFlippingEnv
from stable_baselines3.common.logger import KVWriter
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecFrameStack, VecMonitor, VecNormalize

import velora_sb3
from velora_sb3 import (
    RecurrentDDPG,
    RecurrentDQN,
    RecurrentQRDQN,
    RecurrentSAC,
    RecurrentTD3,
    RecurrentTQC,
    resume_training,
    save_checkpoint,
)

SMALL = {"policy_kwargs": {"net_arch": [8]}, "device": "cpu"}
OFF_POLICY = {"learning_starts": 30, "buffer_size": 200, "batch_size": 8, **SMALL}
ON_POLICY = {"n_steps": 20, **SMALL}
BATCHED = {**ON_POLICY, "batch_size": 20}
RECURRENT = {
    "sequence_length": 4, "batch_size": 2, "learning_starts": 30, "buffer_size": 200, "device": "cpu",
    "policy_kwargs": {"units": 6, "net_arch": [8]},
}  # fmt: skip
NORMAL = {"action_noise": NormalActionNoise(np.zeros(1), 0.3 * np.ones(1))}
CORRELATED = {"action_noise": OrnsteinUhlenbeckActionNoise(np.zeros(1), 0.3 * np.ones(1), theta=0.6)}
LSTM = {"policy_kwargs": {"net_arch": [8], "lstm_hidden_size": 4}}


class DictPendulum(gym.ObservationWrapper):
    """Pendulum with two entries in a Dict, and a state of the wrapper's own."""

    def __init__(self, env):
        super().__init__(env)
        self.observation_space = spaces.Dict({"angle": spaces.Box(-1, 1, (2,)), "seen": spaces.Box(0, 1e6, (1,))})
        self.seen = 0

    def observation(self, observation):
        self.seen += 1
        return {"angle": observation[:2], "seen": np.array([self.seen % 7], dtype=np.float32)}


class Walk(gym.Env):
    """A random walk with masks that tells its state."""

    observation_space = spaces.Box(-100, 100, (2,))
    action_space = spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.steps = np.zeros(2, dtype=np.float32), 0
        return self.place.copy(), {}

    def step(self, action):
        self.steps += 1
        self.place = self.place + (self.np_random.normal(size=2) + action).astype(np.float32)
        return self.place.copy(), float(self.place[0]), False, self.steps >= 13, {}

    def action_masks(self):
        return np.array([True, self.steps % 2 == 0, True])

    def get_state(self):
        return {"place": self.place, "steps": self.steps}

    def set_state(self, state):
        self.place, self.steps = state["place"], state["steps"]


class BitFlips(BitFlippingEnv):
    """SB3's test of hindsight replay, which tells its state."""

    def get_state(self):
        return {"state": self.state, "goal": self.desired_goal, "step": self.current_step}

    def set_state(self, state):
        self.state, self.desired_goal, self.current_step = state["state"], state["goal"], state["step"]


def made(env_id, limit):
    return lambda: Monitor(gym.make(env_id, max_episode_steps=limit))


def several(*functions, kind=DummyVecEnv):
    return lambda: kind(list(functions))


PENDULUM, CARTPOLE = made("Pendulum-v1", 40), made("CartPole-v1", 40)
UNWATCHED = lambda: gym.make("Pendulum-v1", max_episode_steps=30)  # noqa: E731
TWO_PENDULUMS = several(PENDULUM, made("Pendulum-v1", 25))
NORMALIZED = {1: lambda: VecNormalize(DummyVecEnv([PENDULUM])), 2: lambda: VecNormalize(TWO_PENDULUMS())}


@dataclass(frozen=True)
class Case:
    """A run.

    Attributes:
        algorithm: Class of the algorithm.
        env: Makes the environments.
        settings: Arguments of the algorithm.
        policy: Its policy.
    """

    algorithm: Any
    env: Callable[[], Any] = PENDULUM
    settings: dict[str, Any] = field(default_factory=dict)
    policy: str = "MlpPolicy"


CASES = {
    "DDPG": Case(DDPG, settings={**OFF_POLICY, **CORRELATED}),
    "TD3": Case(TD3, settings={**OFF_POLICY, **NORMAL}),
    "SAC": Case(SAC, settings=OFF_POLICY),
    "DQN": Case(DQN, CARTPOLE, {**OFF_POLICY, "target_update_interval": 30}),
    "QRDQN": Case(QRDQN, CARTPOLE, {**OFF_POLICY, "policy_kwargs": {"net_arch": [8], "n_quantiles": 5}}),
    "TQC": Case(TQC, settings=OFF_POLICY),
    "CrossQ": Case(CrossQ, settings=OFF_POLICY),
    "PPO": Case(PPO, settings=BATCHED),
    "A2C": Case(A2C, CARTPOLE, ON_POLICY),
    "A2C with Adam": Case(A2C, CARTPOLE, {**ON_POLICY, "use_rms_prop": False}),
    "TRPO": Case(TRPO, settings=BATCHED),
    "MaskablePPO": Case(MaskablePPO, Walk, BATCHED),
    "RecurrentPPO": Case(RecurrentPPO, settings={**BATCHED, **LSTM}, policy="MlpLstmPolicy"),
    "RecurrentPPO, liquid": Case(
        RecurrentPPO, settings={**BATCHED, "policy_kwargs": {"units": 6}}, policy="LiquidPolicy"
    ),
    "RecurrentPPO, columns": Case(
        velora_sb3.RecurrentPPO,
        TWO_PENDULUMS,
        {**BATCHED, "sequence_length": 5, "policy_kwargs": {"units": 6}},
        "LiquidPolicy",
    ),
    "RecurrentDDPG": Case(RecurrentDDPG, settings={**RECURRENT, **CORRELATED}, policy="LiquidPolicy"),
    "RecurrentTD3": Case(RecurrentTD3, settings={**RECURRENT, **NORMAL}, policy="LiquidPolicy"),
    "RecurrentSAC": Case(RecurrentSAC, settings=RECURRENT, policy="LiquidPolicy"),
    "RecurrentTQC": Case(RecurrentTQC, settings=RECURRENT, policy="LiquidPolicy"),
    "RecurrentDQN": Case(RecurrentDQN, CARTPOLE, RECURRENT, "LiquidPolicy"),
    "RecurrentQRDQN": Case(RecurrentQRDQN, CARTPOLE, RECURRENT, "LiquidPolicy"),
    "SAC, VecNormalize": Case(SAC, NORMALIZED[1], OFF_POLICY),
    "PPO, VecNormalize": Case(PPO, NORMALIZED[1], BATCHED),
    "RecurrentSAC, VecNormalize, 2 envs": Case(RecurrentSAC, NORMALIZED[2], RECURRENT, "LiquidPolicy"),
    "PPO, VecNormalize, 2 envs": Case(PPO, NORMALIZED[2], BATCHED),
    "DDPG, 2 envs": Case(DDPG, TWO_PENDULUMS, {**OFF_POLICY, **CORRELATED}),
    "DQN, 2 envs": Case(DQN, several(CARTPOLE, CARTPOLE), OFF_POLICY),
    "RecurrentPPO, 2 envs": Case(RecurrentPPO, TWO_PENDULUMS, {**BATCHED, **LSTM}, "MlpLstmPolicy"),
    "RecurrentDQN, 2 envs": Case(RecurrentDQN, several(CARTPOLE, CARTPOLE), RECURRENT, "LiquidPolicy"),
    "RecurrentSAC, stored states": Case(
        RecurrentSAC, settings={**RECURRENT, "stored_state": True}, policy="LiquidPolicy"
    ),
    "RecurrentDQN, stored states, 2 envs": Case(
        RecurrentDQN, several(CARTPOLE, CARTPOLE), {**RECURRENT, "stored_state": True}, "LiquidPolicy"
    ),
    "SAC, gSDE": Case(SAC, settings={**OFF_POLICY, "use_sde": True, "train_freq": 8}),
    "PPO, gSDE, schedules": Case(
        PPO,
        settings={
            **BATCHED,
            "use_sde": True,
            "learning_rate": LinearSchedule(1e-2, 1e-4, 0.9),
            "clip_range": LinearSchedule(0.3, 0.1, 1.0),
        },
    ),
    "SAC, whole episodes": Case(SAC, settings={**OFF_POLICY, "train_freq": (1, "episode"), "gradient_steps": -1}),
    "SAC, n-step": Case(SAC, settings={**OFF_POLICY, "n_steps": 3}),
    "SAC, small memory": Case(
        SAC,
        settings={
            **OFF_POLICY,
            "optimize_memory_usage": True,
            "replay_buffer_kwargs": {"handle_timeout_termination": False},
        },
    ),
    "SAC, Dict": Case(SAC, lambda: DictPendulum(PENDULUM()), OFF_POLICY, "MultiInputPolicy"),
    "DQN, hindsight": Case(
        DQN,
        lambda: BitFlips(n_bits=4, continuous=False, max_steps=5),
        {**OFF_POLICY, "replay_buffer_class": HerReplayBuffer, "replay_buffer_kwargs": {"n_sampled_goal": 2}},
        "MultiInputPolicy",
    ),
    "PPO, frame stack": Case(PPO, lambda: VecFrameStack(VecMonitor(several(UNWATCHED, UNWATCHED)()), 3), BATCHED),
}
# Their environments run in processes of their own, which takes seconds to start.
SLOW_CASES = {
    "SAC, processes": Case(SAC, several(PENDULUM, made("Pendulum-v1", 25), kind=SubprocVecEnv), OFF_POLICY),
}
NOT_EXACT = {"ARS": Case(ARS, CARTPOLE, {"n_delta": 2, "device": "cpu", "policy_kwargs": {"net_arch": [4]}})}


class Cut(Exception):
    """Training is cut short."""


class SaveAt(BaseCallback):
    """Notes in ``_on_step`` that a checkpoint is due, and saves where everything is stored and trained on."""

    def __init__(self, path: Path | None = None, at: int = 0, more: int | None = None):
        super().__init__()
        self.path, self.at, self.more = path, at, more
        self.due, self.saved_at = False, None

    def _on_step(self):
        if self.saved_at is None:
            self.due = self.due or self.num_timesteps >= self.at
        elif self.more is not None and self.num_timesteps > self.saved_at + self.more:
            raise Cut
        return True

    def _on_rollout_start(self):
        if self.path is not None and self.due and self.saved_at is None:
            self.saved_at = self.model.num_timesteps
            save_checkpoint(self.model, self.path, callbacks=self.locals["callback"])


class Record(BaseCallback, KVWriter):
    """What SB3 logs, without times, and the episodes."""

    def __init__(self):
        super().__init__()
        self.rows, self.episodes = [], []

    def _on_training_start(self):
        self.logger.output_formats.append(self)

    def _on_step(self):
        for env, info in enumerate(self.locals.get("infos", [])):
            if "episode" in info:
                self.episodes.append((self.num_timesteps, env, info["episode"]["r"], info["episode"]["l"]))
        return True

    def write(self, key_values, key_excluded, step=0):
        self.rows.append((step, {name: value for name, value in key_values.items() if not name.startswith("time/")}))

    def close(self):
        pass

    def since(self, timestep):
        return {
            "rows": [row for row in self.rows if row[0] > timestep],
            "episodes": [episode for episode in self.episodes if episode[0] > timestep],
        }


def train(case: Case, steps: int, *callbacks: BaseCallback):
    """A new run."""
    model = case.algorithm(case.policy, case.env(), seed=3, **deepcopy(case.settings))  # SB3 changes policy_kwargs
    return model.learn(steps, callback=list(callbacks), log_interval=1)


def disturb():
    """What another program leaves behind in the generators."""
    random.seed(99)
    np.random.seed(99)
    torch.manual_seed(99)


def resume(case: Case, path: Path, *callbacks: BaseCallback, **more: Any):
    """The rest of a run, in other circumstances."""
    disturb()
    return resume_training(path, case.env(), list(callbacks), device="cpu", **more)


def everything(model) -> dict[str, Any]:
    """All that a run leaves behind."""
    state: dict[str, Any] = {
        "parameters": model.get_parameters(),
        "variables": [getattr(model, name).detach() for name in model._get_torch_save_params()[1]],
        "num_timesteps": model.num_timesteps,
        "updates": model._n_updates,
        "observations": model._last_obs,
        "numpy": np.random.get_state(legacy=False),
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "memory": getattr(model, "_last_lstm_states", None),
        "collection": vars(model._collection) if hasattr(model, "_collection") else None,
        "returns": [(info["r"], info["l"]) for info in model.ep_info_buffer],
    }
    buffer = getattr(model, "replay_buffer", None)
    if buffer is not None:
        arrays = {name: value for name, value in vars(buffer).items() if name not in ("env", "device", "infos")}
        state["buffer"] = {name: value for name, value in arrays.items() if not isinstance(value, spaces.Space)}
    return state


def assert_equal(one: Any, other: Any, where: str = "") -> None:
    """To the last bit."""
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert list(one) == list(other), where
        for name in one:
            assert_equal(one[name], other[name], f"{where}/{name}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for index, (mine, theirs) in enumerate(zip(one, other, strict=True)):
            assert_equal(mine, theirs, f"{where}/{index}")
    elif isinstance(one, np.ndarray | np.generic):
        assert one.dtype == other.dtype and one.shape == other.shape, where
        assert one.tobytes() == other.tobytes(), where
    elif isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype and one.shape == other.shape, where
        assert one.detach().numpy().tobytes() == other.detach().numpy().tobytes(), where
    elif isinstance(one, float):
        assert repr(one) == repr(other), where
    else:
        assert one == other or vars(one) == vars(other), where


def main(directory: str, steps: str, *names: str) -> None:
    """Train the first part of cases, and be killed."""
    torch.set_num_threads(1)
    for name in names:
        saving = SaveAt(Path(directory, name), int(steps) // 2, more=int(steps) // 10)
        try:
            train({**CASES, **SLOW_CASES, **NOT_EXACT}[name], int(steps), saving, Record())
        except Cut:
            print(name, saving.saved_at, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
