"""The tasks of the benchmark suite, and the candidates on each.

Where RL Zoo has tuned settings (``hyperparams/ppo_lstm.yml`` and ``ppo.yml``), every candidate runs with those. Off
policy, every candidate has a learning rate of 1e-3 and, if it takes action noise, a standard deviation of 0.1. For DQN,
QR-DQN and their recurrent forms the rate falls to zero, and batches, n-step returns and target updates are equal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from sb3_contrib import QRDQN, TQC
from stable_baselines3 import DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.noise import NormalActionNoise
from torch import nn

from velora_sb3.algorithms import (
    RecurrentDDPG,
    RecurrentDQN,
    RecurrentPPO,
    RecurrentQRDQN,
    RecurrentSAC,
    RecurrentTD3,
    RecurrentTQC,
)
from velora_sb3.benchmarks.environments import environment, popgym_env, velocities_alone, velocities_and_reward

MLP = {"net_arch": [64, 64]}
MEMORIES: dict[str, dict[str, Any]] = {
    "lrc": {"cell": "lrc"},
    "cfc": {"cell": "cfc", "mixed_memory": False},
    "cfc, mixed memory": {"cell": "cfc", "mixed_memory": True},
    "gru": {"cell": "gru"},
    "lstm": {"cell": "lstm"},
}
TUNED_ON_POLICY = {"lrc": {"cell_lr_multiplier": 0.3}}  # chosen on seeds from 100 upwards
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
    """An algorithm with its policy and settings, and how its environment is vectorized."""

    algorithm: Any
    policy: str | type
    settings: Mapping[str, Any] = field(default_factory=dict)
    policy_kwargs: Mapping[str, Any] = field(default_factory=dict)
    frames: int = 1  # stacked by VecFrameStack
    n_envs: int = 1
    normalize: bool = False  # by VecNormalize


@dataclass(frozen=True)
class Task:
    """An environment, its candidates, and the steps after which they are evaluated."""

    make_env: Callable[[], gym.Env[Any, Any]]
    steps: tuple[int, ...]
    candidates: Mapping[str, Candidate]


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
POPGYM: dict[str, Any] = {
    "n_envs": 16,
    "settings": {"n_steps": 256, "batch_size": 512, "n_epochs": 10, "learning_rate": 1e-3, "gamma": 0.99},
    "policy_kwargs": {},
}


def _off_policy(
    algorithm: Any, policy_kwargs: Mapping[str, Any] = MLP, policy: str = "MlpPolicy", frames: int = 1, **more: Any
) -> Candidate:
    rate = _falling(1e-3) if issubclass(algorithm, DQN | QRDQN) else 1e-3
    settings: dict[str, Any] = {"learning_rate": rate, **more}
    if algorithm in (DQN, QRDQN):  # the defaults of their recurrent forms, with 16 windows of 32 steps
        tau = 0.01 if algorithm is QRDQN else 0.005
        settings |= {"n_steps": 5, "tau": tau, "target_update_interval": 1, "batch_size": 512}
    if issubclass(algorithm, TD3):  # DDPG too
        settings["action_noise"] = NormalActionNoise(np.zeros(1), 0.1 * np.ones(1))
    return Candidate(algorithm, policy, settings, policy_kwargs, frames)


def _recurrent(*algorithms: Any) -> dict[str, Candidate]:
    """Recurrent off-policy algorithms with every memory."""
    return {
        f"{algorithm.__name__}, {memory}": _off_policy(algorithm, settings, "LiquidPolicy")
        for algorithm in algorithms
        for memory, settings in MEMORIES.items()
    }


def _on_policy(zoo: Mapping[str, Any], width: int = 64, normalize: bool = True) -> dict[str, Candidate]:
    """RecurrentPPO with every memory."""
    heads = {"net_arch": {"pi": [64], "vf": [64]}, "ortho_init": False, **zoo["policy_kwargs"]}
    return {
        f"RecurrentPPO, {memory}": Candidate(
            RecurrentPPO,
            "LiquidPolicy",
            zoo["settings"],
            {**heads, "units": width, **settings, **TUNED_ON_POLICY.get(memory, {})},
            n_envs=zoo["n_envs"],
            normalize=normalize,
        )
        for memory, settings in MEMORIES.items()
    }


def _with_skip_connection(zoo: Mapping[str, Any], *memories: str) -> dict[str, Candidate]:
    """RecurrentPPO whose heads also see the cell's inputs."""
    candidates = _on_policy(zoo)
    return {
        f"{name}, skip connection": replace(one, policy_kwargs={**one.policy_kwargs, "skip_connection": True})
        for name, one in candidates.items()
        if name.removeprefix("RecurrentPPO, ") in memories
    }


def _ppo(
    zoo: Mapping[str, Any],
    frames: int = 1,
    policy: str = "MlpPolicy",
    policy_kwargs: Mapping[str, Any] = MLP,
    normalize: bool = True,
) -> Candidate:
    return Candidate(PPO, policy, zoo["settings"], policy_kwargs, frames, zoo["n_envs"], normalize)


def _reactive(env_id: str, algorithms: Mapping[str, Callable[..., Candidate]], steps: int = 20_000) -> Task:
    """A task in which everything is seen: liquid policies beside MLPs."""
    networks: dict[str, tuple[str, dict[str, Any]]] = {
        "MLP": ("MlpPolicy", MLP),
        "cfc": ("LiquidPolicy", {"cell": "cfc"}),
        "lrc": ("LiquidPolicy", {"cell": "lrc"}),
    }
    return Task(
        environment(env_id),
        (steps,),
        {
            f"{algorithm}, {network}": make(policy=policy, policy_kwargs=settings)
            for algorithm, make in algorithms.items()
            for network, (policy, settings) in networks.items()
        },
    )


SB3_PPO: dict[str, Any] = {"n_envs": 1, "settings": {}}

TASKS: dict[str, Task] = {
    "PendulumNoVel": Task(
        environment(PENDULUM),
        (8_000, 20_000),
        {
            **_recurrent(RecurrentSAC, RecurrentTQC, RecurrentTD3, RecurrentDDPG),
            **{f"{a.__name__}, MLP, 4 frames": _off_policy(a, frames=4) for a in (SAC, TQC, TD3, DDPG)},
            "SAC, MLP": _off_policy(SAC),
        },
    ),
    "Pendulum, velocity alone": Task(
        velocities_alone,
        (31_000,),
        {
            **_recurrent(RecurrentTD3, RecurrentSAC),
            # No window shows whether a pendulum that stands still stands upright.
            "RecurrentSAC, cfc, mixed memory, stored states": _off_policy(
                RecurrentSAC, MEMORIES["cfc, mixed memory"], "LiquidPolicy", stored_state=True, burn_in_length=16
            ),
            "SAC, MLP, 4 frames": _off_policy(SAC, frames=4),
        },
    ),
    "Pendulum, velocity and reward": Task(  # what the recurrent agents of pomdp-baselines see
        velocities_and_reward,
        (31_000,),
        {
            f"{algorithm.__name__}, {memory}": _off_policy(algorithm, MEMORIES[memory], "LiquidPolicy")
            for algorithm, memory in (
                (RecurrentTD3, "cfc, mixed memory"),
                (RecurrentTD3, "lstm"),
                (RecurrentSAC, "cfc, mixed memory"),
            )
        },
    ),
    "PendulumNoVel, on policy": Task(
        environment(PENDULUM),
        (100_000,),
        {**_on_policy(ZOO_PENDULUM), "PPO, MLP, 4 frames": _ppo(ZOO_PENDULUM, 4)},
    ),
    "CartPoleNoVel": Task(
        environment(CARTPOLE),
        (50_000,),
        {
            **_recurrent(RecurrentDQN, RecurrentQRDQN),
            "DQN, MLP, 4 frames": _off_policy(DQN, frames=4),
            "QRDQN, MLP, 4 frames": _off_policy(QRDQN, {**MLP, "n_quantiles": 25}, frames=4),  # as RecurrentQRDQN
        },
    ),
    "CartPoleNoVel, on policy": Task(
        environment(CARTPOLE),
        (100_000,),
        {**_on_policy(ZOO_CARTPOLE), "PPO, MLP, 4 frames": _ppo(ZOO_CARTPOLE, 4), "PPO, MLP": _ppo(ZOO_CARTPOLE)},
    ),
    "MountainCarContinuousNoVel": Task(
        environment(MOUNTAIN_CAR),
        (300_000,),
        {**_on_policy(ZOO_MOUNTAIN_CAR, 32), "PPO, MLP, 4 frames": _ppo(ZOO_MOUNTAIN_CAR, 4)},
    ),
    **{  # counted in decisions, not in environment steps; cells without a clock see the time as one more input
        f"{env_id.split('-')[0]}, {name}": Task(
            environment(env_id, **sampling),
            (50_000,),
            {
                **_on_policy(zoo),
                **_with_skip_connection(zoo, "cfc, mixed memory", "lstm"),
                "PPO, MLP, 4 frames": _ppo(zoo, 4, "MultiInputPolicy"),
            },
        )
        for env_id, zoo in ((PENDULUM, ZOO_PENDULUM), (CARTPOLE, ZOO_CARTPOLE))
        for name, sampling in IRREGULAR.items()
    },
    "CartPole": _reactive(
        "CartPole-v1",
        {
            "PPO": partial(_ppo, SB3_PPO, normalize=False),
            "PPO, RL Zoo's settings": partial(_ppo, ZOO_CARTPOLE, normalize=False),
        },
    ),
    "Pendulum": _reactive(
        "Pendulum-v1",
        {
            "PPO": partial(_ppo, SB3_PPO, normalize=False),
            "PPO, RL Zoo's settings": partial(_ppo, ZOO_PENDULUM, normalize=False),
            "SAC": partial(_off_policy, SAC),
            "DDPG": partial(_off_policy, DDPG),
        },
    ),
    **{
        f"popgym {name}": Task(
            partial(popgym_env, name, with_action),
            (500_000,),
            {**_on_policy(POPGYM, normalize=False), "PPO, MLP, 4 frames": _ppo(POPGYM, 4, normalize=False)},
        )
        for name, with_action in (
            ("RepeatPreviousEasy", False),
            ("NoisyPositionOnlyCartPoleHard", False),
            ("MultiarmedBanditEasy", True),
        )
    },
}
