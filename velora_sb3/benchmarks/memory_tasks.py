"""The tasks of the memory benchmark, and the candidates on each.

Where RL Zoo has tuned settings for RecurrentPPO (``hyperparams/ppo_lstm.yml``), liquid cells and LSTMs run with those.
Off policy, every candidate has a learning rate of 1e-3 and, if it takes action noise, a standard deviation of 0.1. For
DQN, QR-DQN and their recurrent forms the rate falls to zero, and batches, n-step returns and target updates are equal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import FlattenObservation
from sb3_contrib import QRDQN, TQC, RecurrentPPO
from stable_baselines3 import DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.noise import NormalActionNoise
from torch import nn

from velora_sb3.algorithms import RecurrentDDPG, RecurrentDQN, RecurrentQRDQN, RecurrentSAC, RecurrentTD3, RecurrentTQC
from velora_sb3.benchmarks.lstm import LstmPolicy
from velora_sb3.envs import IrregularSampling  # and registers the ids

MLP = {"net_arch": [64, 64]}
LIQUID, LSTM = "RecurrentPPO, liquid", "RecurrentPPO, LSTM"
MIXED_LIQUID = f"{LIQUID}, mixed memory"
IRREGULAR: dict[str, dict[str, Any]] = {
    "irregular": {"hold_probabilities": [0.25] * 4},  # an observation after one to four steps
    "20 % dropped": {"drop_probability": 0.2},
    "60 % dropped": {"drop_probability": 0.6},
}
PENDULUM, CARTPOLE, MOUNTAIN_CAR = "PendulumNoVel-v1", "CartPoleNoVel-v1", "MountainCarContinuousNoVel-v0"


def _falling(start: float) -> Callable[[float], float]:
    return lambda remaining: remaining * start


@dataclass(frozen=True)
class Candidate:
    """An algorithm with its policy and settings, and the wrappers of its environment."""

    algorithm: Any
    policy: str | type
    settings: Mapping[str, Any] = field(default_factory=dict)
    policy_kwargs: Mapping[str, Any] = field(default_factory=dict)
    frames: int = 1  # stacked by VecFrameStack
    n_envs: int = 1
    normalize: bool = False  # by VecNormalize
    wrapper: Callable[[gym.Env[Any, Any]], gym.Env[Any, Any]] | None = None
    normalized_keys: list[str] | None = None  # of a Dict observation


@dataclass(frozen=True)
class Task:
    """An environment, its candidates, and the steps after which they are evaluated."""

    make_env: Callable[[], gym.Env[Any, Any]]
    steps: tuple[int, ...]
    candidates: Mapping[str, Candidate]


def _masked(env_id: str, **sampling: Any) -> Callable[[], gym.Env[Any, Any]]:
    def make() -> gym.Env[Any, Any]:
        env = gym.make(env_id)
        return IrregularSampling(env, **sampling) if sampling else env

    return make


def _off_policy(algorithm: Any, policy: str, frames: int = 1, policy_kwargs: dict[str, Any] | None = None) -> Candidate:
    settings: dict[str, Any] = {"learning_rate": 1e-3}
    if issubclass(algorithm, DQN | QRDQN):
        settings = {"learning_rate": _falling(1e-3)}
    if algorithm in (DQN, QRDQN):  # the defaults of their recurrent forms, with 16 windows of 32 steps
        tau = 0.01 if algorithm is QRDQN else 0.005
        settings |= {"n_steps": 5, "tau": tau, "target_update_interval": 1, "batch_size": 512}
    if issubclass(algorithm, TD3):  # DDPG too
        settings["action_noise"] = NormalActionNoise(np.zeros(1), 0.1 * np.ones(1))
    return Candidate(algorithm, policy, settings, policy_kwargs or {}, frames)


def _on_policy(zoo: Mapping[str, Any], width: int) -> dict[str, Candidate]:
    """RecurrentPPO with liquid cells, with and without mixed memory, and LSTMs of the same width."""
    heads = {"net_arch": {"pi": [64], "vf": [64]}, "ortho_init": False, **zoo["policy_kwargs"]}
    common = {"settings": zoo["settings"], "n_envs": zoo["n_envs"], "normalize": True}
    liquid = {**heads, "units": width}
    return {
        LIQUID: Candidate(RecurrentPPO, "LiquidPolicy", policy_kwargs=liquid, **common),
        MIXED_LIQUID: Candidate(RecurrentPPO, "LiquidPolicy", policy_kwargs={**liquid, "mixed_memory": True}, **common),
        LSTM: Candidate(RecurrentPPO, LstmPolicy, policy_kwargs={**heads, "lstm_hidden_size": width}, **common),
    }


def _irregular(env_id: str, zoo: Mapping[str, Any], **sampling: Any) -> Task:
    """Liquid cells with timespans, and LSTMs with the time as one more input."""
    candidates = {
        name: replace(candidate, wrapper=FlattenObservation)
        if name == LSTM
        else replace(candidate, normalized_keys=["observation"])
        for name, candidate in _on_policy(zoo, 64).items()
    }
    return Task(_masked(env_id, **sampling), (50_000,), candidates)  # counted in decisions, not in environment steps


ZOO_PENDULUM: dict[str, Any] = {
    "n_envs": 4,
    "settings": {
        "n_steps": 1024, "gae_lambda": 0.95, "gamma": 0.9, "n_epochs": 10, "ent_coef": 0.0, "learning_rate": 1e-3,
        "clip_range": 0.2, "use_sde": True, "sde_sample_freq": 4,
    },
    "policy_kwargs": {"activation_fn": nn.ReLU},
}  # fmt: skip
ZOO_CARTPOLE: dict[str, Any] = {
    "n_envs": 8,
    "settings": {
        "n_steps": 32, "batch_size": 256, "gae_lambda": 0.8, "gamma": 0.98, "n_epochs": 20, "ent_coef": 0.0,
        "learning_rate": _falling(1e-3), "clip_range": _falling(0.2),
    },
    "policy_kwargs": {"activation_fn": nn.ReLU},
}  # fmt: skip
ZOO_MOUNTAIN_CAR: dict[str, Any] = {
    "n_envs": 8,
    "settings": {
        "batch_size": 256, "n_steps": 1024, "gamma": 0.9999, "learning_rate": 7.77e-5, "ent_coef": 0.00429,
        "clip_range": 0.1, "n_epochs": 10, "gae_lambda": 0.9, "max_grad_norm": 5, "vf_coef": 0.19, "use_sde": True,
        "sde_sample_freq": 8,
    },
    "policy_kwargs": {"log_std_init": 0.0},
}  # fmt: skip


def _ppo(zoo: Mapping[str, Any], frames: int) -> Candidate:
    return Candidate(PPO, "MlpPolicy", zoo["settings"], MLP, frames, zoo["n_envs"], normalize=True)


TASKS: dict[str, Task] = {
    "PendulumNoVel": Task(
        _masked(PENDULUM),
        (8_000, 20_000),
        {
            "RecurrentSAC": _off_policy(RecurrentSAC, "LiquidPolicy"),
            "RecurrentTD3": _off_policy(RecurrentTD3, "LiquidPolicy"),
            "RecurrentDDPG": _off_policy(RecurrentDDPG, "LiquidPolicy"),
            "RecurrentTQC": _off_policy(RecurrentTQC, "LiquidPolicy"),
            "SAC, liquid, 8 frames": _off_policy(SAC, "LiquidPolicy", 8, {"n_stack": 8}),
            "SAC, MLP, 8 frames": _off_policy(SAC, "MlpPolicy", 8, MLP),
            "SAC, MLP, 4 frames": _off_policy(SAC, "MlpPolicy", 4, MLP),
            "SAC, MLP": _off_policy(SAC, "MlpPolicy", policy_kwargs=MLP),
            "TD3, MLP, 4 frames": _off_policy(TD3, "MlpPolicy", 4, MLP),
            "DDPG, MLP, 4 frames": _off_policy(DDPG, "MlpPolicy", 4, MLP),
            "TQC, MLP, 4 frames": _off_policy(TQC, "MlpPolicy", 4, MLP),
        },
    ),
    "PendulumNoVel, on policy": Task(
        _masked(PENDULUM),
        (100_000,),
        {**_on_policy(ZOO_PENDULUM, 64), "PPO, MLP, 4 frames": _ppo(ZOO_PENDULUM, 4)},
    ),
    "CartPoleNoVel": Task(
        _masked(CARTPOLE),
        (50_000,),
        {
            "RecurrentDQN": _off_policy(RecurrentDQN, "LiquidPolicy"),
            "RecurrentQRDQN": _off_policy(RecurrentQRDQN, "LiquidPolicy"),
            "DQN, MLP, 4 frames": _off_policy(DQN, "MlpPolicy", 4, MLP),
            "DQN, MLP": _off_policy(DQN, "MlpPolicy", policy_kwargs=MLP),
            "QRDQN, MLP, 4 frames": _off_policy(QRDQN, "MlpPolicy", 4, {**MLP, "n_quantiles": 25}),  # as RecurrentQRDQN
        },
    ),
    "CartPoleNoVel, on policy": Task(
        _masked(CARTPOLE),
        (100_000,),
        {
            **_on_policy(ZOO_CARTPOLE, 64),
            "PPO, MLP, 4 frames": _ppo(ZOO_CARTPOLE, 4),
            "PPO, MLP": _ppo(ZOO_CARTPOLE, 1),
        },
    ),
    "MountainCarContinuousNoVel": Task(
        _masked(MOUNTAIN_CAR),
        (300_000,),
        {**_on_policy(ZOO_MOUNTAIN_CAR, 32), "PPO, MLP, 4 frames": _ppo(ZOO_MOUNTAIN_CAR, 4)},
    ),
    **{
        f"{env_id.split('-')[0]}, {name}": _irregular(env_id, zoo, **sampling)
        for env_id, zoo in ((PENDULUM, ZOO_PENDULUM), (CARTPOLE, ZOO_CARTPOLE))
        for name, sampling in IRREGULAR.items()
    },
}
