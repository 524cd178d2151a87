"""What differs between recurrent algorithms by how they explore."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch

from velora_sb3.algorithms.recurrent_off_policy import RecurrentOffPolicyMixin
from velora_sb3.memory.actions import encode_actions
from velora_sb3.policies.recurrent_off_policy import State


class DeterministicActorMixin(RecurrentOffPolicyMixin):
    """For DDPG and TD3, which explore around one action: they begin with more random steps.

    Args:
        policy: As ``RecurrentOffPolicyMixin``'s.
        env: The same.
        learning_rate: As SB3's.
        learning_starts: Random steps before learning.
        **kwargs: As ``RecurrentOffPolicyMixin``'s.
    """

    def __init__(
        self, policy: Any, env: Any, learning_rate: Any = 1e-3, *, learning_starts: int = 1000, **kwargs: Any
    ) -> None:
        super().__init__(policy, env, learning_rate, learning_starts=learning_starts, **kwargs)


class EpsilonGreedyMixin(RecurrentOffPolicyMixin):
    """For DQN and QR-DQN: the memory advances also where a random action replaces the greedy one.

    Windows are warmed up, returns have five steps, and the target network follows slowly at every step; SB3's own
    default copies it every 10,000.

    Args:
        policy: As ``RecurrentOffPolicyMixin``'s.
        env: The same.
        learning_rate: As SB3's.
        burn_in_length: Steps before a window's own that only warm up the memory.
        n_steps: Rewards of a return before it bootstraps; fewer where the episode or the window ends sooner.
        tau: Share of the way that the target network goes at each update of it.
        target_update_interval: Steps between those updates, at least one step of all environments.
        **kwargs: As ``RecurrentOffPolicyMixin``'s.
    """

    exploration_rate: float

    def __init__(
        self,
        policy: Any,
        env: Any,
        learning_rate: Any = 5e-4,
        *,
        burn_in_length: int = 16,
        n_steps: int = 5,
        tau: float = 0.005,
        target_update_interval: int = 1,
        **kwargs: Any,
    ) -> None:
        kwargs |= {"n_steps": n_steps, "tau": tau, "target_update_interval": target_update_interval}
        super().__init__(policy, env, learning_rate, burn_in_length=burn_in_length, **kwargs)

    def _setup_model(self) -> None:
        with warnings.catch_warnings():  # one soft update for each step of all environments is what is meant
            warnings.filterwarnings("ignore", message="The number of environments used is greater than the target")
            super()._setup_model()

    def _choose(
        self, observation: Any, state: State | None, episode_start: np.ndarray | None, deterministic: bool
    ) -> tuple[np.ndarray, State | None]:
        action, next_state = super()._choose(observation, state, episode_start, deterministic)
        if not deterministic and np.random.rand() < self.exploration_rate:
            assert next_state is not None
            random = np.array([self.action_space.sample() for _ in range(action.size)])
            action = random.reshape(action.shape)
            next_state = (next_state[0], encode_actions(torch.as_tensor(random), self.action_space).numpy())
        return action, next_state
