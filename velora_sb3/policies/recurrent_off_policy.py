"""What the off-policy families share: acting with a memory, and networks that learn from windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BaseModel
from stable_baselines3.common.preprocessing import preprocess_obs

from velora_sb3.cells.kernels.plain_form import needs_plain_form
from velora_sb3.memory import LiquidExtractor, SequenceBatch, StepInput
from velora_sb3.memory.actions import action_size, encode_actions
from velora_sb3.memory.frames import batch_size
from velora_sb3.policies.mixin import takes
from velora_sb3.policies.stateful import StatefulPolicyMixin, check_episode_start

State = tuple[np.ndarray, ...]
Network = TypeVar("Network", bound=BaseModel)


class SequenceFeatures:
    """A mixin for SB3's actors and critics: their features extractor also takes a step with its state, and windows."""

    observation_space: spaces.Space[Any]
    features_extractor: Any
    normalize_images: bool

    def extract_features(self, obs: Any, features_extractor: Any) -> torch.Tensor:
        """SB3's, for observations, a ``StepInput`` and a ``SequenceBatch``."""
        if isinstance(obs, StepInput | SequenceBatch):
            prepared = obs.map(lambda raw: preprocess_obs(raw, self.observation_space, self.normalize_images))
            features: torch.Tensor = features_extractor(prepared)
            return features
        plain: torch.Tensor = super().extract_features(obs, features_extractor)  # type: ignore[misc]
        return plain


class SquashedActor(SequenceFeatures):
    """``SequenceFeatures`` for the actors of SAC and TQC, whose deterministic action needs no distribution."""

    latent_pi: Any
    mu: Any

    def forward(self, obs: Any, deterministic: bool = False) -> torch.Tensor:
        """SB3's; the deterministic action is the mode of its distribution, with gSDE and without."""
        if not deterministic:
            actions: torch.Tensor = super().forward(obs, deterministic)  # type: ignore[misc]
            return actions
        features = self.extract_features(obs, self.features_extractor)
        mode = torch.tanh(self.mu(self.latent_pi(features)))
        if not needs_plain_form() and torch.isnan(mode).any():  # SB3's distribution rejects them, too
            raise ValueError("the actor's action is NaN: check the observation, and the policy's weights, for NaN")
        return mode


class SequenceCritic(SequenceFeatures):
    """``SequenceFeatures`` for critics of continuous actions: no gradients of windows that SB3 discards.

    SB3 computes them for the target's features, and for the critic's in the actor's loss, where only those of the
    actions count; it zeroes the critic's before the critic's own loss.
    """

    _discards_gradients = False

    def forward(self, obs: Any, actions: torch.Tensor) -> Any:
        """SB3's."""
        discards = isinstance(obs, SequenceBatch) and (actions.requires_grad or not torch.is_grad_enabled())
        self._discards_gradients = discards
        try:
            return super().forward(obs, actions)  # type: ignore[misc]
        finally:
            self._discards_gradients = False

    def extract_features(self, obs: Any, features_extractor: Any) -> torch.Tensor:
        """As in ``SequenceFeatures``."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self._discards_gradients):
            return super().extract_features(obs, features_extractor)


class RecurrentPolicyMixin(StatefulPolicyMixin):
    """A liquid policy of an off-policy family; recurrent if a recurrent algorithm builds it.

    With ``recurrent=True`` the cell also sees the previous action, and ``predict`` takes and returns a state: a tuple
    of the acting network's memory ``(N, S)`` and the previous action ``(N, A)``.
    """

    recurrent_defaults: dict[str, Any] = {"net_arch": [64], "readout_units": 64}
    acting_network = "actor"

    def __init__(self, observation_space: Any, action_space: Any, *args: Any, **kwargs: Any) -> None:
        self.recurrent = bool(kwargs.get("recurrent", False))
        if self.recurrent:
            self.defaults = self.recurrent_defaults
        self._action_size = action_size(action_space) if self.recurrent else 0
        super().__init__(observation_space, action_space, *args, **kwargs)
        if self.recurrent:
            self.stored_state_size = self._assign_stored_parts()

    @classmethod
    def _accepted_arguments(cls) -> set[str]:
        return super()._accepted_arguments() | {"recurrent"}

    def _to_sb3(self, arguments: dict[str, Any]) -> dict[str, Any]:
        arguments.pop("recurrent", None)
        translated = super()._to_sb3(arguments)
        extractor_class, settings = translated["features_extractor_class"], translated["features_extractor_kwargs"]
        if self._action_size:
            settings["previous_action_size"] = self._action_size
            if self.mixed_memory_by_default and takes(extractor_class, "mixed_memory_by_default"):
                settings["mixed_memory_by_default"] = True
        return translated

    def _make_network(
        self, network_class: type[Network], arguments: dict[str, Any], features_extractor: Any = None
    ) -> Network:
        """Build a network as SB3's policies do, but of the given class."""
        policy: Any = self
        network: Network = network_class(**policy._update_features_extractor(arguments, features_extractor))
        return network.to(policy.device)

    def _assign_stored_parts(self) -> int:
        """Give each network, and its target network, its part of a stored state; returns the width of all parts."""
        size, parts = 0, {}
        for name in (self.acting_network, "critic"):
            if not hasattr(self, name):
                continue
            extractor = getattr(self, name).features_extractor
            if extractor not in parts:  # a critic may share the actor's
                parts[extractor] = slice(size, size + extractor.cell.state_size)
                size += extractor.cell.state_size
            for network in (name, f"{name}_target"):
                if hasattr(self, network):
                    getattr(self, network).features_extractor.stored_part = parts[extractor]
        return size

    def step_memories(
        self, observation: Any, memories: np.ndarray, previous_actions: np.ndarray, acting_memory: np.ndarray
    ) -> np.ndarray:
        """Advance the memory of every network by one observation; acting does not run the critic.

        Args:
            observation: A batch of ``N`` observations.
            memories: Memories of all networks before this observation ``(N, S)``, zero where an episode starts.
            previous_actions: Encoded ``(N, A)``, zero where an episode starts.
            acting_memory: The acting network's memory after this observation, as ``predict`` returns it.

        Returns:
            Memories of all networks after this observation ``(N, S)``, in the order of :meth:`_assign_stored_parts`.
        """
        policy: Any = self
        if acting_memory.shape[1] == self.stored_state_size:  # no critic, or one that shares the actor's memory
            return acting_memory
        extractor: LiquidExtractor = policy.critic.features_extractor
        memory, previous = (
            torch.as_tensor(part, dtype=torch.float32, device=policy.device)
            for part in (memories[:, extractor.stored_part], previous_actions)
        )
        step = StepInput(policy.obs_to_tensor(observation)[0], memory, previous)
        with torch.no_grad():
            policy.critic.extract_features(step, extractor)
        assert step.next_state is not None  # written by the extractor
        return np.concatenate([acting_memory, step.next_state.cpu().numpy()], axis=1)

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: State | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, State | None]:
        """Act; a recurrent policy also takes and returns its state.

        Args:
            observation: One observation or a batch.
            state: The state that the last call returned; None is the zero state.
            episode_start: ``(N,)``, true where an episode starts: the state is reset there.
            deterministic: Whether to act deterministically.

        Returns:
            The action, and the state for the next call (None if the policy is not recurrent).

        Raises:
            ValueError: If the state has other shapes than this policy's, or is of another batch.
        """
        if not self.recurrent:
            return super().predict(observation, state, episode_start, deterministic)  # type: ignore[misc,no-any-return]
        self._warn_if_stateless(state, episode_start)
        policy: Any = self
        batch = batch_size(observation, policy.observation_space)
        policy.set_training_mode(False)
        tensors, vectorized = policy.obs_to_tensor(observation)
        step = self._step_input(tensors, state, episode_start, batch)
        with torch.no_grad():
            chosen = policy._predict(step, deterministic=deterministic)
        assert step.next_state is not None  # written by the extractor
        next_state = (step.next_state.cpu().numpy(), encode_actions(chosen, policy.action_space).cpu().numpy())
        actions = chosen.cpu().numpy().reshape(-1, *policy.action_space.shape)
        if isinstance(policy.action_space, spaces.Box):
            actions = policy.unscale_action(actions)
        return (actions if vectorized else actions.squeeze(axis=0)), next_state

    def _step_input(
        self, observations: Any, state: Sequence[Any] | None, episode_start: np.ndarray | None, batch: int
    ) -> StepInput:
        policy: Any = self
        extractor: LiquidExtractor = getattr(policy, self.acting_network).features_extractor
        sizes = (extractor.cell.state_size, self._action_size)
        device = next(iter(observations.values())).device if isinstance(observations, dict) else observations.device
        if state is None:
            memory, previous = (torch.zeros(batch, size, device=device) for size in sizes)
        else:
            shapes = [(batch, size) for size in sizes]
            if len(state) != 2 or [np.shape(part) for part in state] != shapes:
                raise ValueError(
                    f"state must be two arrays of shapes {shapes[0]} (memory) and {shapes[1]} (previous action), got "
                    f"shapes {[np.shape(part) for part in state]}: pass the state that predict() returned, or None"
                )
            memory, previous = (torch.as_tensor(part, dtype=torch.float32, device=device) for part in state)
        check_episode_start(episode_start, batch)
        if episode_start is not None and np.asarray(episode_start).any():
            starts = torch.as_tensor(episode_start, device=device).reshape(-1, 1) != 0
            memory, previous = torch.where(starts, 0, memory), torch.where(starts, 0, previous)
        return StepInput(observations, memory, previous)
