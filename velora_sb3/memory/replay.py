"""A replay buffer that stores transitions like SB3's and samples contiguous windows of one environment."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import DictReplayBuffer, ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize

from velora_sb3._validation import check_integer
from velora_sb3.memory.actions import encode_actions
from velora_sb3.memory.caller import calling_algorithm
from velora_sb3.memory.inputs import SequenceBatch
from velora_sb3.memory.n_step_returns import n_step_returns


class Windows(NamedTuple):
    """Where the steps of ``B`` windows are stored."""

    steps: np.ndarray  # (T, B), positions in the buffer
    envs: np.ndarray  # (T, B), the same along a window
    episode_starts: np.ndarray  # (T, B)
    burn_in: int

    @property
    def learned(self) -> tuple[np.ndarray, np.ndarray]:
        """Steps and environments after the burn-in, each ``(L, B)``."""
        return self.steps[self.burn_in :], self.envs[self.burn_in :]

    @property
    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """The same, flattened to ``(L * B,)``."""
        return self.steps[self.burn_in :].reshape(-1), self.envs[self.burn_in :].reshape(-1)


class SequenceReplayBuffer(ReplayBuffer):
    """SB3's replay buffer, sampled in windows.

    A sample of ``batch_size`` transitions consists of ``batch_size / sequence_length`` windows, so SB3's ``train()``
    gets the number of rows that it asked for: actions, rewards and dones are flattened, time before batch, and
    observations are :class:`SequenceBatch`. Nothing is stored beyond what SB3 stores, unless states are;
    episode starts follow from ``dones``.

    A window is part of one environment's history. It never crosses the write position. It may cross the end of an
    episode, where the state is reset. It starts from the zero state, or after :meth:`allocate_states` from the state
    stored with its first step; ``burn_in_length`` steps before the learned ones warm the state up. A window that
    begins with the oldest transition always starts from zero, because the action before it is overwritten.

    Args:
        buffer_size: Number of transitions, over all environments.
        observation_space: The observation space.
        action_space: A Box or Discrete space.
        device: Where samples go.
        n_envs: Number of environments.
        optimize_memory_usage: Not supported.
        handle_timeout_termination: Must be true.
        sequence_length: Learned steps of a window ``L``.
        burn_in_length: Steps before them that only warm up the state.
        n_steps: Rewards in a return before it bootstraps; fewer where the episode or the window ends sooner.
        gamma: Discount per step of those rewards.

    Raises:
        ValueError: If a length is out of range or an unsupported option is set, or if an algorithm uses it that has no
            memory between steps (no ``carries_memory``).

    References:
        Kapturowski et al. (2019), "Recurrent Experience Replay in Distributed Reinforcement Learning", ICLR, for
        zero-state starts, stored states and burn-in.
    """

    states: np.ndarray | None = None  # (buffer_size, n_envs, S), before each observation

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: torch.device | str = "auto",
        n_envs: int = 1,
        optimize_memory_usage: bool = False,
        handle_timeout_termination: bool = True,
        sequence_length: int = 32,
        burn_in_length: int = 0,
        n_steps: int = 1,
        gamma: float = 0.99,
    ) -> None:
        self._check_algorithm()
        if optimize_memory_usage:
            raise ValueError("optimize_memory_usage would overwrite the last observation of an episode: leave it out")
        if not handle_timeout_termination:
            raise ValueError("handle_timeout_termination=False would hide truncations: leave it out")
        self.sequence_length = check_integer("sequence_length", sequence_length)
        self.burn_in_length = check_integer("burn_in_length", burn_in_length, least=0)
        self.n_steps, self.gamma = check_integer("n_steps", n_steps), gamma
        super().__init__(buffer_size, observation_space, action_space, device, n_envs=n_envs)

    @property
    def window_length(self) -> int:
        """Steps of a window including its burn-in ``T``."""
        return self.burn_in_length + self.sequence_length

    def allocate_states(self, size: int) -> None:
        """Allocate a state for every transition. Write it to ``states[pos]`` before calling ``add()``.

        Args:
            size: Width of a state ``S``.
        """
        self.states = np.zeros((self.buffer_size, self.n_envs, size), dtype=np.float32)

    def can_sample(self) -> bool:
        """Whether enough steps for a window are stored."""
        return self.size() >= self.window_length

    def cut_episodes(self) -> None:
        """Truncate the episodes in progress, when the environments are reset before they end.

        Marks the last transitions as truncated. Their next observations are real, so their targets stay correct.
        """
        if self.size() == 0:
            return
        last = (self.pos - 1) % self.buffer_size
        running = self.dones[last] == 0
        self.dones[last, running] = self.timeouts[last, running] = 1

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> ReplayBufferSamples:
        """Sample windows.

        Args:
            batch_size: Number of transitions ``L * B``, a multiple of ``sequence_length``.
            env: SB3's ``VecNormalize``, to normalize observations and rewards.

        Returns:
            Samples whose tensors have ``L * B`` rows.

        Raises:
            ValueError: If fewer steps are stored than a window needs, or ``batch_size`` is not a multiple of
                ``sequence_length``.
        """
        self._check_algorithm()
        if not self.can_sample():
            raise ValueError(
                f"a window needs {self.window_length} steps of one environment, but only {self.size()} are stored: "
                "collect more first"
            )
        count, rest = divmod(batch_size, self.sequence_length)
        if count < 1 or rest:
            raise ValueError(
                f"batch_size must be a multiple of sequence_length={self.sequence_length}, got {batch_size}"
            )
        windows = self._draw(count)
        rewards, dones, discounts, bootstrap_index = self._returns(windows, env)
        sequences = self._gather(windows, bootstrap_index, env)
        return ReplayBufferSamples(
            observations=sequences,  # type: ignore[arg-type]
            actions=self.to_torch(self.actions[windows.rows]),
            next_observations=sequences.next_view(),  # type: ignore[arg-type]
            dones=self.to_torch(dones.reshape(-1, 1)),
            rewards=self.to_torch(rewards),
            discounts=None if discounts is None else self.to_torch(discounts),
        )

    def _check_algorithm(self) -> None:
        algorithm: Any = calling_algorithm(self)
        if algorithm is None or getattr(algorithm, "carries_memory", False):
            return
        name, own = type(algorithm).__name__, type(self)
        if getattr(algorithm, "replay_buffer_class", None) is own or algorithm.replay_buffer is self:
            raise ValueError(
                f"{name} has no memory between steps, and {own.__name__} samples windows to train one: use a recurrent "
                "algorithm, such as RecurrentSAC, or another replay buffer"
            )

    def _draw(self, count: int) -> Windows:
        """Draw ``count`` windows, uniformly over their first steps and over the environments."""
        first = np.random.randint(0, self.size() - self.window_length + 1, size=count)
        order = first + np.arange(self.window_length)[:, None]  # (T, B), 0 is the oldest step stored
        steps = ((self.pos if self.full else 0) + order) % self.buffer_size
        envs = np.broadcast_to(np.random.randint(0, self.n_envs, size=count), steps.shape)
        # What came before the oldest step is gone: it starts from the zero state, as an episode does.
        starts = (self.dones[(steps - 1) % self.buffer_size, envs] > 0) | (order == 0)
        return Windows(steps, envs, starts, self.burn_in_length)

    def _gather(self, windows: Windows, bootstrap_index: np.ndarray | None, env: VecNormalize | None) -> SequenceBatch:
        """The windows as input of a recurrent network."""
        steps, envs, starts, burn_in = windows
        observations = self._normalize_obs(_pick(self.observations, steps, envs), env)
        following = self._normalize_obs(_pick(self.next_observations, *windows.learned), env)
        apart = _apart(windows, observations, following)
        previous = self._encoded((steps - 1) % self.buffer_size, envs).view(*steps.shape, -1)
        is_start = torch.as_tensor(starts, device=self.device)
        return SequenceBatch(
            observations=self._flattened(observations),
            previous_actions=torch.where(is_start.unsqueeze(-1), 0, previous),
            episode_starts=is_start,
            next_observations=self._flattened(following, apart),
            actions=self._encoded(*windows.learned),
            burn_in=burn_in,
            bootstrap_index=None if bootstrap_index is None else torch.as_tensor(bootstrap_index, device=self.device),
            stored_state=None if self.states is None else self.to_torch(self.states[steps[0], envs[0]]),
            apart=torch.as_tensor(apart, device=self.device),
        )

    def _returns(
        self, windows: Windows, env: VecNormalize | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
        """Returns ``(L * B, 1)`` and dones ``(L * B,)``; with n-step returns also discounts and last rows."""
        rewards = self._normalize_reward(self.rewards[windows.rows].reshape(-1, 1), env)
        dones = self.dones[windows.rows] * (1 - self.timeouts[windows.rows])
        if self.n_steps == 1:
            return rewards, dones, None, None
        ended = self.dones[windows.learned] > 0  # (L, B)
        returns, last = n_step_returns(rewards.reshape(ended.shape), ended, self.n_steps, self.gamma)
        length, count = ended.shape
        bootstrap_index = (last * count + np.arange(count)).reshape(-1)
        discounts = self.gamma ** (last - np.arange(length)[:, None] + 1).reshape(-1, 1)
        return returns.reshape(-1, 1), dones[bootstrap_index], discounts.astype(np.float32), bootstrap_index

    def _encoded(self, steps: np.ndarray, envs: np.ndarray) -> torch.Tensor:
        """Actions at ``(T, B)`` places as a recurrent network sees them ``(T * B, A)``."""
        actions = self.actions[steps.reshape(-1), envs.reshape(-1)]
        return encode_actions(self.to_torch(actions), self.action_space)

    def _flattened(self, picked: Any, rows: Any = slice(None)) -> Any:
        """Observations ``(T, B, ...)`` as ``(T * B, ...)``, or some rows of them."""
        if isinstance(picked, dict):
            return {key: self._flattened(values, rows) for key, values in picked.items()}
        return self.to_torch(picked.reshape(-1, *picked.shape[2:])[rows])


class SequenceDictReplayBuffer(SequenceReplayBuffer, DictReplayBuffer):  # type: ignore[misc]  # sample()
    """:class:`SequenceReplayBuffer` for Dict observations."""


def _pick(stored: Any, steps: np.ndarray, envs: np.ndarray) -> Any:
    """Observations at ``(T, B)`` places."""
    if isinstance(stored, dict):
        return {key: values[steps, envs] for key, values in stored.items()}
    return stored[steps, envs]


def _apart(windows: Windows, observations: Any, following: Any) -> np.ndarray:
    """The learned rows whose next observation is not the observation of the window's next step ``(K,)``."""
    continues = ~windows.episode_starts[windows.burn_in + 1 :]  # (L - 1, B)
    if not isinstance(following, dict):
        observations, following = {"": observations}, {"": following}
    for key, after in following.items():
        before = observations[key]
        equal = before[windows.burn_in + 1 :] == after[:-1]
        continues &= equal.all(axis=tuple(range(2, equal.ndim)))
    return np.flatnonzero(np.concatenate([~continues, np.ones_like(windows.episode_starts[:1])]))
