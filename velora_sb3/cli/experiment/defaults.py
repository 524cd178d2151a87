"""Default settings by algorithm and environment.

They are RL Zoo's (https://github.com/DLR-RM/rl-baselines3-zoo, folder ``hyperparams``) with two differences: network
sizes are left to the policy, and nothing is normalized. Where RL Zoo sets ``normalize: true`` (PPO on Acrobot and both
MountainCars), only its other settings are used; PPO does not learn MountainCarContinuous then. DDPG and TD3 start to
learn Pendulum after 100 steps instead of 10,000. The recurrent algorithms keep their own defaults, except for a
decaying learning rate on CartPoleNoVel and noise on PendulumNoVel. Pairs without an entry use the algorithm's
defaults.

An entry has ``steps``, ``n_envs``, ``hyperparams`` and ``policy_kwargs``, all optional.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

STEPS = 50_000
PERIODS_PER_RUN, SHORTEST_PERIOD = 20, 1_000

_PENDULUM_TD3: dict[str, Any] = {
    "steps": 20_000,
    "hyperparams": {
        "learning_rate": 1e-3, "gamma": 0.98, "buffer_size": 200_000, "learning_starts": 100,
        "noise_type": "normal", "noise_std": 0.1, "train_freq": 1, "gradient_steps": 1,
    },
}  # fmt: skip
_MOUNTAIN_CAR_TD3: dict[str, Any] = {
    "steps": 300_000,
    "hyperparams": {"noise_type": "ornstein-uhlenbeck", "noise_std": 0.5},
}

_PENDULUM_NO_VELOCITY: dict[str, Any] = {
    "steps": 20_000,
    "hyperparams": {"noise_type": "normal", "noise_std": 0.1},
}

DEFAULTS: dict[tuple[str, str], dict[str, Any]] = {
    ("ddpg", "Pendulum-v1"): _PENDULUM_TD3,
    ("ddpg", "MountainCarContinuous-v0"): _MOUNTAIN_CAR_TD3,
    ("td3", "Pendulum-v1"): _PENDULUM_TD3,
    ("td3", "MountainCarContinuous-v0"): _MOUNTAIN_CAR_TD3,
    ("sac", "Pendulum-v1"): {"steps": 20_000, "hyperparams": {"learning_rate": 1e-3}},
    ("recurrent_sac", "PendulumNoVel-v1"): {"steps": 10_000},
    ("recurrent_ddpg", "PendulumNoVel-v1"): _PENDULUM_NO_VELOCITY,
    ("recurrent_td3", "PendulumNoVel-v1"): _PENDULUM_NO_VELOCITY,
    ("recurrent_dqn", "CartPoleNoVel-v1"): {"steps": 50_000, "hyperparams": {"learning_rate": "lin_0.001"}},
    ("recurrent_qrdqn", "CartPoleNoVel-v1"): {"steps": 50_000, "hyperparams": {"learning_rate": "lin_0.001"}},
    ("sac", "MountainCarContinuous-v0"): {
        "steps": 50_000,
        "hyperparams": {
            "learning_rate": 3e-4, "buffer_size": 50_000, "batch_size": 512, "ent_coef": 0.1, "train_freq": 32,
            "gradient_steps": 32, "gamma": 0.9999, "tau": 0.01, "learning_starts": 0, "use_sde": True,
        },
        "policy_kwargs": {"log_std_init": -3.67},
    },
    ("ppo", "Pendulum-v1"): {
        "steps": 100_000,
        "n_envs": 4,
        "hyperparams": {
            "n_steps": 1024, "gae_lambda": 0.95, "gamma": 0.9, "n_epochs": 10, "ent_coef": 0.0,
            "learning_rate": 1e-3, "clip_range": 0.2, "use_sde": True, "sde_sample_freq": 4,
        },
    },
    ("ppo", "CartPole-v1"): {
        "steps": 100_000,
        "n_envs": 8,
        "hyperparams": {
            "n_steps": 32, "batch_size": 256, "gae_lambda": 0.8, "gamma": 0.98, "n_epochs": 20, "ent_coef": 0.0,
            "learning_rate": "lin_0.001", "clip_range": "lin_0.2",
        },
    },
    ("ppo", "Acrobot-v1"): {
        "steps": 1_000_000,
        "n_envs": 16,
        "hyperparams": {"n_steps": 256, "gae_lambda": 0.94, "gamma": 0.99, "n_epochs": 4, "ent_coef": 0.0},
    },
    ("ppo", "MountainCar-v0"): {
        "steps": 1_000_000,
        "n_envs": 16,
        "hyperparams": {"n_steps": 16, "gae_lambda": 0.98, "gamma": 0.99, "n_epochs": 4, "ent_coef": 0.0},
    },
    ("ppo", "MountainCarContinuous-v0"): {
        "steps": 20_000,
        "n_envs": 1,
        "hyperparams": {
            "batch_size": 8, "n_steps": 8, "gamma": 0.9999, "learning_rate": 7.77e-5, "ent_coef": 0.00429,
            "clip_range": 0.1, "n_epochs": 10, "gae_lambda": 0.9, "max_grad_norm": 5, "vf_coef": 0.19, "use_sde": True,
        },
        "policy_kwargs": {"log_std_init": -3.29, "ortho_init": False},
    },
    ("dqn", "CartPole-v1"): {
        "steps": 50_000,
        "hyperparams": {
            "learning_rate": 2.3e-3, "batch_size": 64, "buffer_size": 100_000, "learning_starts": 1000, "gamma": 0.99,
            "target_update_interval": 10, "train_freq": 256, "gradient_steps": 128, "exploration_fraction": 0.16,
            "exploration_final_eps": 0.04,
        },
    },
    ("dqn", "MountainCar-v0"): {
        "steps": 120_000,
        "hyperparams": {
            "learning_rate": 4e-3, "batch_size": 128, "buffer_size": 10_000, "learning_starts": 1000, "gamma": 0.98,
            "target_update_interval": 600, "train_freq": 16, "gradient_steps": 8, "exploration_fraction": 0.2,
            "exploration_final_eps": 0.07,
        },
    },
    ("dqn", "Acrobot-v1"): {
        "steps": 100_000,
        "hyperparams": {
            "learning_rate": 6.3e-4, "batch_size": 128, "buffer_size": 50_000, "learning_starts": 0, "gamma": 0.99,
            "target_update_interval": 250, "train_freq": 4, "gradient_steps": -1, "exploration_fraction": 0.12,
            "exploration_final_eps": 0.1,
        },
    },
}  # fmt: skip


def defaults_for(algo: str, env: str) -> dict[str, Any]:
    """The default settings of an algorithm on an environment, as a copy."""
    empty: dict[str, Any] = {"steps": STEPS, "n_envs": 1, "hyperparams": {}, "policy_kwargs": {}}
    return {**empty, **deepcopy(DEFAULTS.get((algo, env), {}))}


def default_period(steps: int) -> int:
    """Timesteps between evaluations, and between checkpoints: a twentieth of the run, but at least 1,000."""
    return max(steps // PERIODS_PER_RUN, min(steps, SHORTEST_PERIOD))
