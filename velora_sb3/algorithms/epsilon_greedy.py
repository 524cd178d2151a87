"""What the recurrent forms of DQN and QR-DQN share."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch

from velora_sb3.algorithms.recurrent_off_policy import RecurrentOffPolicyMixin
from velora_sb3.memory.actions import encode_actions
from velora_sb3.policies.recurrent_off_policy import State


class EpsilonGreedyMixin(RecurrentOffPolicyMixin):
    """Epsilon-greedy exploration with a memory: it also advances where a random action replaces the greedy one."""

    exploration_rate: float

    def _setup_model(self) -> None:
        with warnings.catch_warnings():  # one soft update for each step of all environments is intended
            warnings.filterwarnings("ignore", message="The number of environments used is greater than the target")
            super()._setup_model()

    def _choose(
        self, observation: Any, state: State | None, episode_start: np.ndarray | None, deterministic: bool
    ) -> tuple[np.ndarray, State | None]:
        action, next_state = super()._choose(observation, state, episode_start, deterministic)
        if not deterministic and np.random.rand() < self.exploration_rate:
            assert next_state is not None  # a recurrent policy returns its state
            random = np.array([self.action_space.sample() for _ in range(action.size)])
            action = random.reshape(action.shape)
            next_state = (next_state[0], encode_actions(torch.as_tensor(random), self.action_space).numpy())
        return action, next_state
