"""What makes one of SB3's off-policy algorithms recurrent: collection with a memory, and replay of windows."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.save_util import load_from_zip_file
from stable_baselines3.common.type_aliases import GymEnv

from velora_sb3._validation import check_bool, check_integer
from velora_sb3.algorithms.collection_state import CollectionState
from velora_sb3.memory import SequenceDictReplayBuffer, SequenceReplayBuffer
from velora_sb3.memory.actions import action_size, encode_actions
from velora_sb3.policies.algorithm_check import check_algorithm
from velora_sb3.policies.recurrent_off_policy import State

ENVIRONMENTS = {"n_envs": "environments:", "observation_space": "observations in", "action_space": "actions in"}
# What algorithms add to policy_kwargs.
ADDED = ("recurrent", "use_sde", "n_critics", "optimizer_class", "optimizer_kwargs")
# Model settings that are copied to the replay buffer.
SAMPLING = ("sequence_length", "burn_in_length", "n_steps", "gamma")


class RecurrentOffPolicyMixin(OffPolicyAlgorithm):
    """A mixin that makes one of SB3's off-policy algorithms recurrent: it replaces the replay buffer and collection.

    ``train()`` stays SB3's. While collecting, the memory advances at every observation, even when the action is random
    (warm-up, epsilon-greedy), takes the previously executed action, noise included, as input, and is reset where an
    episode starts.

    Args:
        policy: ``"LiquidPolicy"`` or a liquid policy class.
        env: The environment, or its id.
        sequence_length: Steps of a window from the replay buffer to learn from.
        burn_in_length: Steps before them that only warm up the memory.
        stored_state: Whether windows start from the memory that was stored in collection, instead of from zero.
        batch_size: Windows in a batch.
        policy_kwargs: Arguments of the policy.
        **kwargs: The algorithm's. An n-step return spans fewer rewards where the episode or the window ends sooner.

    Raises:
        TypeError: If the policy class is another algorithm's, or not recurrent.
        ValueError: For hindsight replay, ``optimize_memory_usage``, and a replay buffer smaller than a window.
    """

    policy: Any  # a RecurrentPolicyMixin, of any family
    replay_buffer: SequenceReplayBuffer
    carries_memory = True

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: GymEnv | str,
        *,
        sequence_length: int = 32,
        burn_in_length: int = 0,
        stored_state: bool = False,
        batch_size: int = 16,
        policy_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self._check_arguments(kwargs)
        check_integer("batch_size", batch_size)
        self.sequence_length, self.burn_in_length = sequence_length, burn_in_length
        self.stored_state = check_bool("stored_state", stored_state)
        self._collection = CollectionState()
        kwargs["policy_kwargs"] = {**(policy_kwargs or {}), "recurrent": True}
        super().__init__(policy, env, batch_size=batch_size, **kwargs)
        if kwargs.get("_init_setup_model", True):
            self._check_buffer()

    def _check_buffer(self) -> None:
        window, capacity = self.sequence_length + self.burn_in_length, self.replay_buffer.buffer_size
        if capacity < window:
            raise ValueError(
                f"buffer_size={self.buffer_size} holds {capacity} steps of each of {self.n_envs} environment(s), "
                f"fewer than a window of {window}: increase buffer_size, or reduce sequence_length or burn_in_length"
            )
        states = self.replay_buffer.states
        width, expected = 0 if states is None else states.shape[-1], self.policy.stored_state_size
        if self.stored_state and width != expected:
            raise ValueError(
                f"stored_state=True needs a state of width {expected} with each transition, but the replay buffer has "
                f"{width}: load one saved with stored_state=True and networks of these sizes, or leave stored_state out"
            )

    def _check_arguments(self, kwargs: dict[str, Any]) -> None:
        name = type(self).__name__
        if kwargs.get("optimize_memory_usage"):
            raise ValueError(f"{name} needs the last observation of an episode: leave out optimize_memory_usage")
        misplaced = sorted(set(SAMPLING) & set(kwargs.get("replay_buffer_kwargs") or {}))
        if misplaced:
            raise ValueError(f"{' and '.join(misplaced)}: pass to {name}, not in replay_buffer_kwargs")
        buffer_class = kwargs.get("replay_buffer_class")
        if buffer_class is not None and not issubclass(buffer_class, SequenceReplayBuffer):
            raise ValueError(
                f"{name} samples windows and cannot use {buffer_class.__name__} (hindsight replay relabels single "
                "transitions): leave out replay_buffer_class, or derive it from SequenceReplayBuffer"
            )

    def _setup_model(self) -> None:
        check_algorithm(self)
        name = type(self).__name__
        if not self.policy_kwargs.get("recurrent"):  # loaded from the file of an algorithm without memory
            raise ValueError(
                f"{name} cannot load a policy without memory: load it with {name.removeprefix('Recurrent')}"
            )
        if self.replay_buffer_class in (None, ReplayBuffer, SequenceReplayBuffer):
            with_dict = isinstance(self.observation_space, spaces.Dict)
            self.replay_buffer_class = SequenceDictReplayBuffer if with_dict else SequenceReplayBuffer
        lengths = {"sequence_length": self.sequence_length, "burn_in_length": self.burn_in_length}
        self.replay_buffer_kwargs = {**self.replay_buffer_kwargs, **lengths}
        check_integer("n_steps", self.n_steps)
        with warnings.catch_warnings():  # SB3 expects n-step returns of no replay buffer but its own
            warnings.filterwarnings("ignore", message="`n_steps=.*` is ignored")
            super()._setup_model()
        self._configure_sampling()
        if self.stored_state:
            self.replay_buffer.allocate_states(self.policy.stored_state_size)

    def _configure_sampling(self) -> None:
        for name in SAMPLING:
            setattr(self.replay_buffer, name, getattr(self, name))

    @classmethod
    def load(
        cls,
        path: Any,
        env: GymEnv | None = None,
        device: torch.device | str = "auto",
        custom_objects: dict[str, Any] | None = None,
        print_system_info: bool = False,
        force_reset: bool = True,
        **kwargs: Any,
    ) -> Any:
        """SB3's; ``policy_kwargs`` may be the constructor's, to which the algorithm has added its own."""
        custom_objects = dict(custom_objects or {})
        given = [place for place in (kwargs, custom_objects) if "policy_kwargs" in place]
        if given:
            others = {name: value for name, value in custom_objects.items() if name != "policy_kwargs"}
            data, _, _ = load_from_zip_file(path, custom_objects=others, device="cpu")
            saved = (data or {}).get("policy_kwargs", {})
            added = {name: saved[name] for name in ADDED if name in saved}
            for place in given:
                place["policy_kwargs"] = {**added, **(place["policy_kwargs"] or {})}
        return super().load(path, env, device, custom_objects, print_system_info, force_reset, **kwargs)

    def load_replay_buffer(self, path: Any, truncate_last_traj: bool = True) -> None:
        """Like SB3's; windows have this model's settings, whatever the buffer was saved with.

        Args:
            path: The file.
            truncate_last_traj: Whether to truncate the last episodes in the file, because what is collected next does
                not continue them.

        Raises:
            ValueError: If it is no ``SequenceReplayBuffer``, or does not fit the model.
        """
        before = self.replay_buffer
        try:
            super().load_replay_buffer(path, truncate_last_traj)
            self._fit_buffer(path, truncate_last_traj)
        except Exception:  # SB3 also checks the buffer only after it has replaced the model's
            self.replay_buffer = before
            raise

    def _fit_buffer(self, path: Any, truncate_last_traj: bool) -> None:
        buffer: Any = self.replay_buffer
        if not isinstance(buffer, SequenceReplayBuffer):
            raise ValueError(
                f"{type(self).__name__} samples windows, and {path} holds a {type(buffer).__name__}: load one "
                "that a recurrent algorithm saved"
            )
        for name, what in ENVIRONMENTS.items():
            saved, own = getattr(buffer, name), getattr(self, name)
            if saved != own:
                raise ValueError(
                    f"{path} was saved with {what} {saved}, but this model has {what} {own}: load it into a model with "
                    "the same environments"
                )
        if truncate_last_traj:
            buffer.cut_episodes()
        self._configure_sampling()
        if not self.stored_state:
            buffer.states = None
        self._check_buffer()

    def _setup_learn(self, *args: Any, **kwargs: Any) -> Any:
        """Like SB3's; where it resets the environments, memories are reset and the running episodes truncated."""
        self._configure_sampling()  # a loaded model may have been given another buffer, or a setting
        self._check_buffer()
        if self._collection.in_flight:  # the transition was lost between step and storage: its episode cannot continue
            self._last_obs = None
        starts, self._last_episode_starts = self._last_episode_starts, None
        try:
            return super()._setup_learn(*args, **kwargs)
        finally:
            was_reset = self._last_episode_starts is not None  # SB3 sets it then
            if was_reset:
                self._collection = CollectionState()
                self.replay_buffer.cut_episodes()
            else:
                self._last_episode_starts = starts

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """Like SB3's, plus one step of the memory, whatever selects the action; gSDE stays SB3's."""
        collection = self._collection
        collection.selecting, collection.selected = True, None
        try:
            action, scaled = super()._sample_action(learning_starts, action_noise, n_envs)
        finally:
            collection.selecting = False
        if collection.selected is None:  # a random action, without a call of the policy
            observation: Any = self._last_obs
            _, collection.selected = self.policy.predict(
                observation, collection.acting, self._last_episode_starts, deterministic=True
            )
        assert collection.selected is not None  # a recurrent policy returns its state
        if self.stored_state:
            self._step_memories(collection.selected[0])
        executed = encode_actions(torch.as_tensor(scaled), self.action_space).numpy()
        collection.acting, collection.in_flight = (collection.selected[0], executed), True
        return action, scaled

    def _step_memories(self, acting_memory: np.ndarray) -> None:
        """Advance the memories of all networks by the last observation, and keep those before it for storage."""
        collection = self._collection
        starts = np.asarray(self._last_episode_starts, dtype=bool)[:, None]
        if collection.memories is None or collection.acting is None:
            before = np.zeros((len(starts), self.policy.stored_state_size), dtype=np.float32)
            previous = np.zeros((len(starts), action_size(self.action_space)), dtype=np.float32)
        else:
            before, previous = (np.where(starts, 0, part) for part in (collection.memories, collection.acting[1]))
        collection.stored = before
        collection.memories = self.policy.step_memories(self._last_obs, before, previous, acting_memory)

    def _store_transition(self, replay_buffer: Any, *args: Any, **kwargs: Any) -> None:
        position = replay_buffer.pos
        if self.stored_state:
            replay_buffer.states[position] = self._collection.stored
        super()._store_transition(replay_buffer, *args, **kwargs)
        self._last_episode_starts = replay_buffer.dones[position].astype(bool)
        self._collection.in_flight = False

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: State | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, State | None]:
        """Act.

        Args:
            observation: One observation or a batch.
            state: The state that the last call returned; None is the zero state.
            episode_start: ``(N,)``, true where an episode starts: the state is reset there.
            deterministic: Whether to act deterministically.

        Returns:
            The action and the state for the next call.
        """
        collection = self._collection
        if collection.selecting:  # SB3 passes no state
            state, episode_start = collection.acting, self._last_episode_starts
        action, next_state = self._choose(observation, state, episode_start, deterministic)
        if collection.selecting:
            collection.selected = next_state
        return action, next_state

    def _choose(  # EpsilonGreedyMixin overrides it
        self, observation: Any, state: State | None, episode_start: np.ndarray | None, deterministic: bool
    ) -> tuple[np.ndarray, State | None]:
        chosen: tuple[np.ndarray, State | None] = self.policy.predict(observation, state, episode_start, deterministic)
        return chosen

    def train(self, gradient_steps: int, batch_size: int) -> None:
        """SB3's, once a window is stored.

        Args:
            gradient_steps: Number of updates.
            batch_size: Number of windows in each.
        """
        if self.replay_buffer.can_sample():
            super().train(gradient_steps, batch_size * self.sequence_length)  # SB3 counts transitions
