"""What makes one of SB3's off-policy algorithms recurrent: its data collection carries a memory."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer

from velora_sb3.memory import SequenceDictReplayBuffer, SequenceReplayBuffer
from velora_sb3.memory.actions import encode_actions
from velora_sb3.policies.acting import RecurrentPolicyMixin

State = tuple[np.ndarray, ...]


class RecurrentOffPolicyMixin:
    """Put in front of an SB3 off-policy algorithm, it replaces the replay buffer and carries the memory along.

    ``train()`` stays SB3's own. The memory advances on every observation, also where the action is random (warm-up,
    epsilon-greedy), sees the executed action of the step before, noise included, and starts afresh where an episode
    does.

    Args:
        policy: ``"LiquidPolicy"`` or a liquid policy class.
        env: The environment, or its id.
        sequence_length: Steps of a window from the replay buffer to learn from.
        burn_in_length: Steps before them that only warm up the memory.
        batch_size: Windows in a batch.
        learning_rate: As SB3's, 1e-3 unless given.
        learning_starts: Random steps before learning.
        **kwargs: Everything else is SB3's.

    Raises:
        ValueError: For what cannot work: n-step returns, hindsight replay, ``optimize_memory_usage``, a policy that
            does not remember.
    """

    def __init__(
        self,
        policy: Any,
        env: Any,
        learning_rate: Any = 1e-3,
        *,
        sequence_length: int = 32,
        burn_in_length: int = 0,
        batch_size: int = 16,
        learning_starts: int = 500,
        **kwargs: Any,
    ) -> None:
        self.sequence_length, self.burn_in_length = sequence_length, burn_in_length
        self._check_arguments(kwargs)
        policy_kwargs = {**(kwargs.pop("policy_kwargs", None) or {}), "recurrent": True}
        replay_buffer_kwargs = {
            **(kwargs.pop("replay_buffer_kwargs", None) or {}),
            "sequence_length": sequence_length,
            "burn_in_length": burn_in_length,
        }
        self._acting_state: State | None = None
        self._collecting = False
        super().__init__(  # type: ignore[call-arg]
            policy,
            env,
            learning_rate,
            batch_size=batch_size,
            learning_starts=learning_starts,
            policy_kwargs=policy_kwargs,
            replay_buffer_kwargs=replay_buffer_kwargs,
            **kwargs,
        )

    def _check_arguments(self, kwargs: dict[str, Any]) -> None:
        name = type(self).__name__
        known = set(inspect.signature(super().__init__).parameters)
        unknown = set(kwargs) - known
        if unknown:
            raise TypeError(f"{name} has no argument {', '.join(map(repr, sorted(unknown)))}; it takes {sorted(known)}")
        if kwargs.get("n_steps", 1) != 1:
            raise ValueError(f"{name} has no n-step returns: windows hold single steps, leave out n_steps")
        if kwargs.get("optimize_memory_usage"):
            raise ValueError(f"{name} needs the last observation of an episode: leave out optimize_memory_usage")
        buffer_class = kwargs.get("replay_buffer_class")
        if buffer_class is not None and not issubclass(buffer_class, SequenceReplayBuffer):
            raise ValueError(
                f"{name} samples windows and cannot use {buffer_class.__name__} (hindsight replay changes goals in "
                "single transitions): leave out replay_buffer_class, or derive it from SequenceReplayBuffer"
            )

    def _setup_model(self) -> None:
        algorithm: Any = self
        if algorithm.replay_buffer_class in (None, ReplayBuffer):
            with_dict = isinstance(algorithm.observation_space, spaces.Dict)
            algorithm.replay_buffer_class = SequenceDictReplayBuffer if with_dict else SequenceReplayBuffer
        if not issubclass(algorithm.policy_class, RecurrentPolicyMixin):
            raise ValueError(
                f"{type(self).__name__} needs a policy that remembers, {algorithm.policy_class.__name__} does not: "
                "use 'LiquidPolicy'"
            )
        super()._setup_model()  # type: ignore[misc]

    def _setup_learn(self, *args: Any, **kwargs: Any) -> Any:
        """As SB3's; if that resets the environments, episodes in flight end in the replay buffer too."""
        algorithm: Any = self
        algorithm._last_episode_starts = None
        prepared = super()._setup_learn(*args, **kwargs)  # type: ignore[misc]
        if algorithm._last_episode_starts is None:  # not reset: the episodes go on
            algorithm._last_episode_starts = self._starts_after_pause
        else:
            algorithm.replay_buffer.cut_episodes()
        return prepared

    def _sample_action(self, learning_starts: int, action_noise: Any = None, n_envs: int = 1) -> tuple[Any, Any]:
        """As SB3's, with the memory: advanced once for each observation, whatever chooses the action."""
        algorithm: Any = self
        self._advanced: State | None = None
        self._collecting = True
        try:
            action, stored = super()._sample_action(learning_starts, action_noise, n_envs)  # type: ignore[misc]
        finally:
            self._collecting = False
        if self._advanced is None:  # a random action did not ask the policy
            _, self._advanced = algorithm.policy.predict(
                algorithm._last_obs, self._acting_state, algorithm._last_episode_starts, deterministic=True
            )
        executed = encode_actions(torch.as_tensor(stored), algorithm.action_space).numpy()
        self._acting_state = (self._advanced[0], executed)
        return action, stored

    def predict(
        self,
        observation: Any,
        state: State | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, State | None]:
        """As SB3's; takes and returns the state of the memory.

        Args:
            observation: One observation or a batch.
            state: What the last call returned; None is the zero state.
            episode_start: ``(N,)``, true where an episode starts.
            deterministic: Whether to act deterministically.

        Returns:
            The action and the state for the next call.
        """
        algorithm: Any = self
        if self._collecting:
            state, episode_start = self._acting_state, algorithm._last_episode_starts
        action, next_state = self._choose(observation, state, episode_start, deterministic)
        if self._collecting:
            self._advanced = next_state
        return action, next_state

    def _choose(self, observation: Any, state: Any, episode_start: Any, deterministic: bool) -> Any:
        algorithm: Any = self
        return algorithm.policy.predict(observation, state, episode_start, deterministic)

    def _store_transition(self, replay_buffer: Any, buffer_action: Any, new_obs: Any, reward: Any, dones: Any, infos: Any) -> None:
        super()._store_transition(replay_buffer, buffer_action, new_obs, reward, dones, infos)  # type: ignore[misc]
        algorithm: Any = self
        algorithm._last_episode_starts = self._starts_after_pause = np.asarray(dones, dtype=bool)

    def train(self, gradient_steps: int, batch_size: int) -> None:
        """SB3's own, once a whole window is stored.

        Args:
            gradient_steps: Number of updates.
            batch_size: Number of windows in each.
        """
        algorithm: Any = self
        if algorithm.replay_buffer.can_sample():
            super().train(gradient_steps, batch_size * self.sequence_length)  # type: ignore[misc]


class EpsilonGreedyMixin(RecurrentOffPolicyMixin):
    """For DQN and QR-DQN: the greedy action is computed also where a random one replaces it."""

    def _choose(self, observation: Any, state: Any, episode_start: Any, deterministic: bool) -> Any:
        algorithm: Any = self
        action, next_state = algorithm.policy.predict(observation, state, episode_start, deterministic)
        if not deterministic and np.random.rand() < algorithm.exploration_rate:
            random = np.array([algorithm.action_space.sample() for _ in range(np.size(action))])
            action = random.reshape(np.shape(action))
            next_state = (next_state[0], encode_actions(torch.as_tensor(random), algorithm.action_space).numpy())
        return action, next_state
