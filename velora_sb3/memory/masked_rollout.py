"""Rollout buffers for recurrent policies with action masks."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple

import numpy as np
import torch
from sb3_contrib.common.maskable.buffers import MaskableDictRolloutBuffer, MaskableRolloutBuffer
from sb3_contrib.common.recurrent.buffers import RecurrentDictRolloutBuffer, RecurrentRolloutBuffer
from stable_baselines3.common.buffers import RolloutBuffer


class MaskedStates(NamedTuple):
    """A minibatch's ``RNNStates`` with its masks: sb3-contrib's ``train()`` hands them to the policy as they are."""

    pi: tuple[torch.Tensor, ...]  # states of the actor at the first step of each sequence
    vf: tuple[torch.Tensor, ...]  # and of the critic
    action_masks: torch.Tensor  # (n_seq * max_length, D), rows as those of the actions; all false where padded


class MaskedRolloutMixin(RolloutBuffer):
    """Combines sb3-contrib's recurrent and maskable buffers: minibatches of padded sequences with their masks.

    The maskable buffer allocates the masks, the recurrent one builds the sequences.
    """

    action_masks: np.ndarray  # (n_steps, n_envs, D), later (n_envs * n_steps, D)
    mask_dims: int
    pad: Any

    def store_masks(self, action_masks: np.ndarray) -> None:
        """Store the masks of the step that ``add()`` stores next.

        Args:
            action_masks: ``(n_envs, D)``.

        Raises:
            ValueError: If ``D`` does not match the action space.
        """
        masks = action_masks.reshape(self.n_envs, -1)
        if masks.shape[1] != self.mask_dims:
            raise ValueError(
                f"action_masks() of the environment returned {masks.shape[1]} values for {self.action_space}, "
                f"expected {self.mask_dims}: true where an action is allowed"
            )
        self.action_masks[self.pos] = masks

    def get(self, batch_size: int | None = None) -> Generator[Any, None, None]:
        """As in the recurrent buffer; ``lstm_states`` of each minibatch are ``MaskedStates``.

        Args:
            batch_size: Steps of a minibatch, padding not counted.

        Returns:
            The minibatches.
        """
        if not self.generator_ready:
            self.action_masks = self.swap_and_flatten(self.action_masks)
        yield from super().get(batch_size)

    def _get_samples(self, batch_inds: np.ndarray, *args: Any, **kwargs: Any) -> Any:
        samples: Any = super()._get_samples(batch_inds, *args, **kwargs)
        masks = self.pad(self.action_masks[batch_inds]).flatten(0, 1)
        return samples._replace(lstm_states=MaskedStates(samples.lstm_states.pi, samples.lstm_states.vf, masks))


class RecurrentMaskableRolloutBuffer(  # type: ignore[misc]  # sb3-contrib's two differ in what add() and get() take
    MaskedRolloutMixin, RecurrentRolloutBuffer, MaskableRolloutBuffer
):
    """sb3-contrib's ``RecurrentRolloutBuffer`` and ``MaskableRolloutBuffer`` in one."""


class RecurrentMaskableDictRolloutBuffer(  # type: ignore[misc]  # as above
    MaskedRolloutMixin, RecurrentDictRolloutBuffer, MaskableDictRolloutBuffer
):
    """The same for Dict observations."""
