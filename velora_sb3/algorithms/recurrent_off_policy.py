"""What makes one of SB3's off-policy algorithms recurrent: its data collection carries a memory."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from velora_sb3._validation import check_integer
from velora_sb3.memory import SequenceDictReplayBuffer, SequenceReplayBuffer
from velora_sb3.memory.actions import action_size, encode_actions
from velora_sb3.policies.recurrent_off_policy import RecurrentPolicyMixin, State

# What the replay buffer samples by.
SAMPLING = ("sequence_length", "burn_in_length", "n_steps", "gamma")


class RecurrentOffPolicyMixin(OffPolicyAlgorithm):
    """Put in front of an SB3 off-policy algorithm, it replaces the replay buffer and carries the memory along.

    ``train()`` stays SB3's own. The memory advances on every observation, also where the action is random (warm-up,
    epsilon-greedy), sees the executed action of the step before, noise included, and starts afresh where an episode
    does.

    Args:
        policy: ``"LiquidPolicy"`` or a liquid policy class.
        env: The environment, or its id.
        learning_rate: As SB3's.
        sequence_length: Steps of a window from the replay buffer to learn from.
        burn_in_length: Steps before them that only warm up the memory.
        stored_state: Whether windows start from the memory of when they were collected, instead of from zero.
        batch_size: Windows in a batch.
        learning_starts: Random steps before learning.
        **kwargs: Everything else is SB3's. With ``n_steps`` returns have so many steps, fewer where the episode or the
            window ends sooner.

    Raises:
        ValueError: For what cannot work: hindsight replay, ``optimize_memory_usage``, a policy that does not
            remember.
        TypeError: For an unknown argument.
    """

    policy: Any  # a RecurrentPolicyMixin, whichever family's
    replay_buffer: SequenceReplayBuffer
    carries_memory = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let ``inspect.signature`` show SB3's arguments where ``**kwargs`` stands."""
        super().__init_subclass__(**kwargs)
        ours = [base for base in cls.__mro__ if issubclass(base, RecurrentOffPolicyMixin) and "__init__" in vars(base)]
        theirs = next(base for base in cls.__mro__ if not issubclass(base, RecurrentOffPolicyMixin))
        shown: dict[str, inspect.Parameter] = {}
        known = inspect.signature(theirs.__init__).parameters
        for base in [*ours, theirs]:  # the first default counts, with SB3's type
            for name, parameter in list(inspect.signature(base.__init__).parameters.items())[1:]:
                if parameter.kind is not inspect.Parameter.VAR_KEYWORD:
                    typed = parameter.replace(annotation=known.get(name, parameter).annotation)
                    keyword = typed if base in ours else typed.replace(kind=inspect.Parameter.KEYWORD_ONLY)
                    shown.setdefault(name, keyword)
        cls.__signature__ = inspect.Signature(list(shown.values()))  # type: ignore[attr-defined]

    def __init__(
        self,
        policy: Any,
        env: Any,
        learning_rate: Any = 1e-3,
        *,
        sequence_length: int = 32,
        burn_in_length: int = 0,
        stored_state: bool = False,
        batch_size: int = 16,
        learning_starts: int = 100,
        **kwargs: Any,
    ) -> None:
        self._check_arguments(kwargs)
        check_integer("batch_size", batch_size)
        if not isinstance(stored_state, bool):
            raise ValueError(f"stored_state must be True or False, got {stored_state!r}")
        self._in_flight = False
        self.sequence_length, self.burn_in_length = sequence_length, burn_in_length
        self.stored_state = stored_state
        self._acting_state: State | None = None
        self._memories: np.ndarray | None = None  # of every network (N, S), kept if they are to be stored
        self._advanced: State | None = None
        self._collecting = False
        kwargs["policy_kwargs"] = {**(kwargs.get("policy_kwargs") or {}), "recurrent": True}
        super().__init__(policy, env, learning_rate, batch_size=batch_size, learning_starts=learning_starts, **kwargs)
        if kwargs.get("_init_setup_model", True):
            self._check_buffer()

    def _check_buffer(self) -> None:
        window, stored = self.sequence_length + self.burn_in_length, self.replay_buffer.buffer_size
        if stored < window:
            raise ValueError(
                f"buffer_size={self.buffer_size} holds {stored} steps of each of {self.n_envs} environment(s), "
                f"fewer than a window of {window}: enlarge one or shorten the other"
            )
        states = self.replay_buffer.states
        held, needed = 0 if states is None else states.shape[-1], self.policy.stored_state_size
        if self.stored_state and held != needed:
            raise ValueError(
                f"stored_state=True needs {needed} numbers of memory with each transition, the replay buffer holds "
                f"{held}: load one saved with stored_state=True and networks of these sizes, or leave stored_state out"
            )

    def _check_arguments(self, kwargs: dict[str, Any]) -> None:
        name = type(self).__name__
        known = set(inspect.signature(super().__init__).parameters)
        unknown = sorted(set(kwargs) - known)
        if unknown:
            raise TypeError(f"{name} has no argument {', '.join(unknown)}; it takes {', '.join(sorted(known))}")
        if kwargs.get("optimize_memory_usage"):
            raise ValueError(f"{name} needs the last observation of an episode: leave out optimize_memory_usage")
        taken = sorted(set(SAMPLING) & set(kwargs.get("replay_buffer_kwargs") or {}))
        if taken:
            raise ValueError(f"{name} takes {' and '.join(taken)} itself: not in replay_buffer_kwargs")
        buffer_class = kwargs.get("replay_buffer_class")
        if buffer_class is not None and not issubclass(buffer_class, SequenceReplayBuffer):
            raise ValueError(
                f"{name} samples windows and cannot use {buffer_class.__name__} (hindsight replay, for one, changes "
                "goals in single transitions): leave out replay_buffer_class, or derive it from SequenceReplayBuffer"
            )

    def _setup_model(self) -> None:
        if self.replay_buffer_class in (None, ReplayBuffer):
            with_dict = isinstance(self.observation_space, spaces.Dict)
            self.replay_buffer_class = SequenceDictReplayBuffer if with_dict else SequenceReplayBuffer
        if not issubclass(self.policy_class, RecurrentPolicyMixin):
            raise ValueError(
                f"{type(self).__name__} needs a policy that remembers, {self.policy_class.__name__} does not: "
                "use 'LiquidPolicy'"
            )
        lengths = {"sequence_length": self.sequence_length, "burn_in_length": self.burn_in_length}
        self.replay_buffer_kwargs = {**self.replay_buffer_kwargs, **lengths}
        check_integer("n_steps", self.n_steps)
        with warnings.catch_warnings():  # SB3 knows no other replay buffer than its own that has n-step returns
            warnings.filterwarnings("ignore", message="`n_steps=.*` is ignored")
            super()._setup_model()
        self._hand_on_settings()
        if self.stored_state:
            self.replay_buffer.store_states(self.policy.stored_state_size)

    def _hand_on_settings(self) -> None:
        for name in SAMPLING:
            setattr(self.replay_buffer, name, getattr(self, name))

    def load_replay_buffer(self, path: Any, truncate_last_traj: bool = True) -> None:
        """As SB3's; windows are as long and start as this model's, whatever the buffer was saved with.

        Args:
            path: The file.
            truncate_last_traj: Whether the last episodes in the file have ended: what is collected next does not go on
                with them.

        Raises:
            ValueError: If the buffer is none of sequences, or does not fit the model.
        """
        before = self.replay_buffer
        try:
            super().load_replay_buffer(path, truncate_last_traj)
            self._adopt_buffer(path, truncate_last_traj)
        except Exception:  # SB3 too checks what it has put in place already
            self.replay_buffer = before
            raise

    def _adopt_buffer(self, path: Any, truncate_last_traj: bool) -> None:
        buffer: Any = self.replay_buffer
        if not isinstance(buffer, SequenceReplayBuffer):
            raise ValueError(
                f"{type(self).__name__} samples windows, {path} holds a {type(buffer).__name__}: load one that a "
                "recurrent algorithm has saved"
            )
        if truncate_last_traj:
            buffer.cut_episodes()
        self._hand_on_settings()
        if not self.stored_state:
            buffer.states = None
        self._check_buffer()

    def _setup_learn(self, *args: Any, **kwargs: Any) -> Any:
        """As SB3's; where it resets the environments, the episodes in flight end in the replay buffer too."""
        self._hand_on_settings()  # a loaded model may have been given another buffer, or a setting
        self._check_buffer()
        if self._in_flight:  # stopped between step and storage: that transition is lost, so its episode cannot go on
            self._last_obs, self._in_flight = None, False
        going_on, self._last_episode_starts = self._last_episode_starts, None
        try:
            prepared = super()._setup_learn(*args, **kwargs)
        finally:
            was_reset = self._last_episode_starts is not None
            if was_reset:
                self._acting_state = self._memories = None
                self.replay_buffer.cut_episodes()
            else:
                self._last_episode_starts = going_on
        return prepared

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """As SB3's, with the memory: advanced once for each observation, whatever chooses the action."""
        assert self._last_obs is not None  # learn() has reset the environments
        self._advanced, self._collecting = None, True
        try:
            action, stored = super()._sample_action(learning_starts, action_noise, n_envs)
        finally:
            self._collecting = False
        if self._advanced is None:  # a random action did not ask the policy
            _, self._advanced = self.policy.predict(
                self._last_obs, self._acting_state, self._last_episode_starts, deterministic=True
            )
        assert self._advanced is not None
        if self.stored_state:
            self._step_memories(self._advanced[0])
        executed = encode_actions(torch.as_tensor(stored), self.action_space).numpy()
        self._acting_state, self._in_flight = (self._advanced[0], executed), True
        return action, stored

    def _step_memories(self, acting_memory: np.ndarray) -> None:
        """Take every network's memory over the observation; the one before it is what will be stored."""
        keep = 1 - np.asarray(self._last_episode_starts, dtype=np.float32)[:, None]
        if self._memories is None or self._acting_state is None:
            self._memories = np.zeros((len(keep), self.policy.stored_state_size), dtype=np.float32)
            previous = np.zeros((len(keep), action_size(self.action_space)), dtype=np.float32)
        else:
            previous = self._acting_state[1] * keep
        self._memories_before = self._memories * keep
        self._memories = self.policy.step_memories(self._last_obs, self._memories_before, previous, acting_memory)

    def _store_transition(self, replay_buffer: Any, *args: Any, **kwargs: Any) -> None:
        stored_before = replay_buffer.pos
        if self.stored_state:
            replay_buffer.states[stored_before] = self._memories_before
        super()._store_transition(replay_buffer, *args, **kwargs)
        dones = replay_buffer.dones[stored_before].astype(bool)
        self._last_episode_starts, self._in_flight = dones, False

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
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
        if self._collecting:
            state, episode_start = self._acting_state, self._last_episode_starts
        action, next_state = self._choose(observation, state, episode_start, deterministic)
        if self._collecting:
            self._advanced = next_state
        return action, next_state

    def _choose(
        self, observation: Any, state: State | None, episode_start: np.ndarray | None, deterministic: bool
    ) -> tuple[np.ndarray, State | None]:
        chosen: tuple[np.ndarray, State | None] = self.policy.predict(observation, state, episode_start, deterministic)
        return chosen

    def train(self, gradient_steps: int, batch_size: int) -> None:
        """SB3's own, once a whole window is stored.

        Args:
            gradient_steps: Number of updates.
            batch_size: Number of windows in each.
        """
        if self.replay_buffer.can_sample():
            super().train(gradient_steps, batch_size * self.sequence_length)
