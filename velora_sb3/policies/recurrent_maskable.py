"""sb3-contrib's recurrent policies with sb3-contrib's action masks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from sb3_contrib.common.maskable.distributions import MaskableDistribution, make_masked_proba_distribution
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from sb3_contrib.common.recurrent.policies import (
    RecurrentActorCriticCnnPolicy,
    RecurrentMultiInputActorCriticPolicy,
)

from velora_sb3.memory.frames import batch_size
from velora_sb3.policies.recurrent_lstm import PackedLstmMixin
from velora_sb3.policies.stateful import check_pair

Masks = torch.Tensor | np.ndarray | None


def check_masks(policy: RecurrentMaskableActorCriticPolicy, observation: Any, action_masks: Any) -> None:
    """Raise ``ValueError`` unless there is one mask for each observation, with one value for each action."""
    net: Any = policy.action_net
    shape = (batch_size(observation, policy.observation_space), int(net.out_features))
    if action_masks is None:
        return
    given = np.shape(action_masks)
    if math.prod(given) != math.prod(shape) or given == shape[::-1] != shape:
        raise ValueError(
            f"action_masks must have shape {shape}, one row per observation and one value per action, got {given}"
        )


class RecurrentMaskableActorCriticPolicy(PackedLstmMixin):
    """sb3-contrib's ``RecurrentActorCriticPolicy`` with the action distributions of ``MaskableActorCriticPolicy``.

    Methods that select or evaluate actions also take ``action_masks``: ``(N, D)``, true where an action is allowed.
    ``D`` is the number of actions (Discrete), their sum over the dimensions (MultiDiscrete), or twice the number of
    dimensions (MultiBinary). None allows every action. Takes the arguments of ``RecurrentActorCriticPolicy``.
    """

    action_dist: MaskableDistribution
    _action_masks: Masks = None  # of the distributions made within _masked()

    def _build(self, lr_schedule: Any) -> None:
        self.action_dist = make_masked_proba_distribution(self.action_space)
        # The recurrent class's _build() rejects maskable distributions; this one needs nothing else of its policy.
        MaskableActorCriticPolicy._build(self, lr_schedule)  # type: ignore[arg-type]

    @contextmanager
    def _masked(self, action_masks: Masks) -> Iterator[None]:
        """Mask the distributions made within: sb3-contrib's recurrent methods do not pass masks to one another."""
        outer = self._action_masks
        self._action_masks = outer if action_masks is None else action_masks
        try:
            yield
        finally:
            self._action_masks = outer

    def _get_action_dist_from_latent(self, latent_pi: torch.Tensor) -> MaskableDistribution:
        distribution: Any = self.action_dist
        masked: MaskableDistribution = distribution.proba_distribution(action_logits=self.action_net(latent_pi))
        masked.apply_masking(self._action_masks)
        return masked

    def forward(self, *args: Any, action_masks: Masks = None, **kwargs: Any) -> Any:
        """sb3-contrib's, with masks."""
        with self._masked(action_masks):
            return super().forward(*args, **kwargs)

    def get_distribution(self, *args: Any, action_masks: Masks = None, **kwargs: Any) -> Any:
        """sb3-contrib's, with masks."""
        with self._masked(action_masks):
            return super().get_distribution(*args, **kwargs)

    def evaluate_actions(  # type: ignore[override]  # sb3-contrib's takes states too
        self,
        obs: Any,
        actions: torch.Tensor,
        lstm_states: Any,
        episode_starts: torch.Tensor,
        action_masks: Masks = None,
    ) -> Any:
        """sb3-contrib's, with masks; in training they come with the states, in ``MaskedStates``."""
        with self._masked(getattr(lstm_states, "action_masks", action_masks)):
            return super().evaluate_actions(obs, actions, lstm_states, episode_starts)

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
        action_masks: np.ndarray | None = None,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Act, with masks.

        Args:
            observation: One observation or a batch.
            state: The state that the last call returned; None is the zero state.
            episode_start: ``(N,)``, true where an episode starts.
            deterministic: Whether to take the most likely action or to sample.
            action_masks: ``(N, D)``, true where an action is allowed; None allows every action.

        Returns:
            The action and the state for the next call.

        Raises:
            ValueError: If the state has other shapes than this policy's, or state or masks are of another batch.
        """
        check_pair(self, observation, state, episode_start)
        check_masks(self, observation, action_masks)
        with self._masked(action_masks):
            return super().predict(observation, state, episode_start, deterministic)


class RecurrentMaskableActorCriticCnnPolicy(RecurrentMaskableActorCriticPolicy, RecurrentActorCriticCnnPolicy):
    """``RecurrentActorCriticCnnPolicy``, for images, with masks."""


class RecurrentMaskableMultiInputActorCriticPolicy(
    RecurrentMaskableActorCriticPolicy, RecurrentMultiInputActorCriticPolicy
):
    """``RecurrentMultiInputActorCriticPolicy``, for Dict observations, with masks."""
