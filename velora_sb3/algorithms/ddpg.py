"""Recurrent DDPG."""

from typing import Any

import torch
from stable_baselines3 import DDPG
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.type_aliases import GymEnv, Schedule
from stable_baselines3.td3.policies import TD3Policy

from velora_sb3.algorithms.recurrent_off_policy import RecurrentOffPolicyMixin


class RecurrentDDPG(RecurrentOffPolicyMixin, DDPG):  # type: ignore[misc]  # SB3's train() has defaults that it never uses
    """DDPG with a memory; takes its arguments, and those of the memory.

    Args:
        policy: ``"LiquidPolicy"`` or a liquid policy class.
        env: The environment, or its id.
        learning_rate: Learning rate, or a schedule of it.
        sequence_length: Steps of a window from the replay buffer to learn from.
        burn_in_length: Steps before them that only warm up the memory.
        stored_state: Whether windows start from the memory that was stored in collection, instead of from zero.
        batch_size: Windows in a batch.
        learning_starts: Random steps before learning: more than DDPG's 100, as a deterministic actor explores
            only through ``action_noise``.
    """

    def __init__(
        self,
        policy: str | type[TD3Policy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 1e-3,
        *,
        sequence_length: int = 32,
        burn_in_length: int = 0,
        stored_state: bool = False,
        buffer_size: int = 1_000_000,
        learning_starts: int = 1000,
        batch_size: int = 16,
        tau: float = 0.005,
        gamma: float = 0.99,
        train_freq: int | tuple[int, str] = 1,
        gradient_steps: int = 1,
        action_noise: ActionNoise | None = None,
        replay_buffer_class: type[ReplayBuffer] | None = None,
        replay_buffer_kwargs: dict[str, Any] | None = None,
        optimize_memory_usage: bool = False,
        n_steps: int = 1,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        super().__init__(
            policy, env,
            learning_rate=learning_rate, sequence_length=sequence_length, burn_in_length=burn_in_length,
            stored_state=stored_state, buffer_size=buffer_size, learning_starts=learning_starts, batch_size=batch_size,
            tau=tau, gamma=gamma, train_freq=train_freq, gradient_steps=gradient_steps, action_noise=action_noise,
            replay_buffer_class=replay_buffer_class, replay_buffer_kwargs=replay_buffer_kwargs,
            optimize_memory_usage=optimize_memory_usage, n_steps=n_steps, tensorboard_log=tensorboard_log,
            policy_kwargs=policy_kwargs, verbose=verbose, seed=seed, device=device, _init_setup_model=_init_setup_model,
        )  # fmt: skip
