"""Recurrent DQN."""

from typing import Any

import torch
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import GymEnv, Schedule
from stable_baselines3.dqn.policies import DQNPolicy

from velora_sb3.algorithms.epsilon_greedy import EpsilonGreedyMixin


class RecurrentDQN(EpsilonGreedyMixin, DQN):  # type: ignore[misc]  # SB3's train() has defaults that it never uses
    """DQN with a memory; takes its arguments, and those of the memory.

    Args:
        policy: ``"LiquidPolicy"`` or a liquid policy class.
        env: The environment, or its id.
        learning_rate: Learning rate, or a schedule of it.
        sequence_length: Steps of a window from the replay buffer to learn from.
        burn_in_length: Steps before them that only warm up the memory.
        stored_state: Whether windows start from the memory that was stored in collection, instead of from zero.
        batch_size: Windows in a batch.
        tau: Share by which the target network moves at each update; DQN copies the network.
        n_steps: Rewards in a return before it bootstraps; fewer where the episode or the window ends sooner.
        target_update_interval: Steps between updates of the target network, at least one step of all environments.
    """

    def __init__(
        self,
        policy: str | type[DQNPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 5e-4,
        *,
        sequence_length: int = 32,
        burn_in_length: int = 64,
        stored_state: bool = False,
        buffer_size: int = 1_000_000,
        learning_starts: int = 100,
        batch_size: int = 16,
        tau: float = 0.005,
        gamma: float = 0.99,
        train_freq: int | tuple[int, str] = 4,
        gradient_steps: int = 1,
        replay_buffer_class: type[ReplayBuffer] | None = None,
        replay_buffer_kwargs: dict[str, Any] | None = None,
        optimize_memory_usage: bool = False,
        n_steps: int = 5,
        target_update_interval: int = 1,
        exploration_fraction: float = 0.1,
        exploration_initial_eps: float = 1.0,
        exploration_final_eps: float = 0.05,
        max_grad_norm: float = 10,
        stats_window_size: int = 100,
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
            tau=tau, gamma=gamma, train_freq=train_freq, gradient_steps=gradient_steps,
            replay_buffer_class=replay_buffer_class, replay_buffer_kwargs=replay_buffer_kwargs,
            optimize_memory_usage=optimize_memory_usage, n_steps=n_steps, target_update_interval=target_update_interval,
            exploration_fraction=exploration_fraction, exploration_initial_eps=exploration_initial_eps,
            exploration_final_eps=exploration_final_eps, max_grad_norm=max_grad_norm,
            stats_window_size=stats_window_size, tensorboard_log=tensorboard_log, policy_kwargs=policy_kwargs,
            verbose=verbose, seed=seed, device=device, _init_setup_model=_init_setup_model,
        )  # fmt: skip
