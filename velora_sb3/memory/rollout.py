"""Rollout buffers for recurrent policies: minibatches of whole columns, without padding, and with action masks."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib.common.maskable.buffers import MaskableDictRolloutBuffer, MaskableRolloutBuffer
from sb3_contrib.common.recurrent.buffers import RecurrentDictRolloutBuffer, RecurrentRolloutBuffer
from sb3_contrib.common.recurrent.type_aliases import (
    RecurrentDictRolloutBufferSamples,
    RecurrentRolloutBufferSamples,
    RNNStates,
)
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.utils import get_device

FIELDS = ("observations", "actions", "values", "log_probs", "advantages", "returns", "episode_starts")


class NoPadding(torch.Tensor):
    """A mask that is true everywhere.

    sb3-contrib's ``train()`` indexes with ``mask > 1e-8``. A slice is a view there, and saves the search for the true
    elements (on a GPU, waiting for it too) and its slow derivative.
    """

    def __gt__(self, other: Any) -> Any:
        """All of them."""
        return slice(None)


class ColumnRolloutMixin(RolloutBuffer):
    """Minibatches of columns: ``sequence_length`` consecutive steps of one environment, wherever episodes start.

    sb3-contrib's buffer cuts a minibatch into episodes and pads them to the longest. Here every sequence has the same
    length, nothing is padded, and the policy resets its state inside a sequence by ``episode_starts``. Only the states
    at the first step of each column are kept, on the policy's device.

    The rows of a minibatch are those of one column after the other, as in sb3-contrib's buffer. The arrays stay what
    they are there, but for the states; minibatches come from copies of them on ``storage_device``, made once a rollout.

    Args:
        buffer_size: Steps of a rollout.
        observation_space: Observation space.
        action_space: Action space.
        hidden_state_shape: Shape of the states of a rollout: ``(n_steps, n_layers, n_envs, hidden_size)``.
        device: Device of the minibatches.
        gae_lambda: Trade-off of bias and variance in the advantages.
        gamma: Discount factor.
        n_envs: Number of environments.
        sequence_length: Steps of a column; a divisor of ``buffer_size``. None for all of them.
        storage_device: Device that keeps the rollout while it is learned from; None for ``device``.

    Raises:
        ValueError: If the sequence length does not divide the rollout.
    """

    contrib: ClassVar[type[RolloutBuffer]]  # its class, which would store the states of every step
    fields: ClassVar[tuple[str, ...]] = FIELDS
    samples: ClassVar[Any]

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        hidden_state_shape: tuple[int, int, int, int],
        device: torch.device | str = "auto",
        gae_lambda: float = 1,
        gamma: float = 0.99,
        n_envs: int = 1,
        sequence_length: int | None = None,
        storage_device: torch.device | str | None = None,
    ) -> None:
        self.sequence_length = buffer_size if sequence_length is None else sequence_length
        if buffer_size % self.sequence_length:
            raise ValueError(
                f"sequence_length must divide the {buffer_size} steps of a rollout, got {sequence_length}: it "
                "is the number of consecutive steps of one environment in a sequence"
            )
        self.storage_device = get_device(device if storage_device is None else storage_device)
        stateless: Any = (0, *hidden_state_shape[1:])
        recurrent: Any = super()  # takes the states' shape, too
        recurrent.__init__(buffer_size, observation_space, action_space, stateless, device, gae_lambda, gamma, n_envs)

    def reset(self) -> None:
        """Empty the buffer."""
        super().reset()
        self._states: list[RNNStates] = []  # at the first step of each sequence of the rollout
        self._stored: dict[str, Any] = {}  # by field: (columns, sequence_length, ...), or a dict of such tensors
        self._stored_states: list[torch.Tensor] = []

    def add(self, *args: Any, lstm_states: RNNStates, **kwargs: Any) -> None:  # type: ignore[override]  # states, too
        """Store a step of every environment; of the states, those at the first step of a column.

        Args:
            *args: As in SB3's buffer.
            lstm_states: The states before the step.
            **kwargs: As in SB3's buffer.
        """
        if self.pos % self.sequence_length == 0:
            self._states.append(lstm_states)
        super(self.contrib, self).add(*args, **kwargs)  # past the states of every step

    def split(self, batch_size: int | None) -> list[int]:
        """Numbers of columns of the minibatches.

        Args:
            batch_size: Transitions of a minibatch, rounded to whole columns; None for one minibatch of everything.

        Returns:
            As many numbers as there are minibatches; they differ by one at most.
        """
        columns = self.n_envs * self.buffer_size // self.sequence_length
        wanted = columns if batch_size is None else max(1, round(batch_size / self.sequence_length))
        return [len(part) for part in np.array_split(np.arange(columns), max(1, round(columns / wanted)))]

    def get(self, batch_size: int | None = None) -> Generator[Any, None, None]:
        """Minibatches of columns in random order.

        Args:
            batch_size: Transitions of a minibatch, rounded to whole columns; None for one minibatch of everything.

        Returns:
            The minibatches.

        Raises:
            ValueError: If the rollout is not complete.
        """
        if not self.full:
            raise ValueError(f"the rollout has {self.pos} of {self.buffer_size} steps: collect it before learning")
        if not self.generator_ready:
            self._store()
        counts = self.split(batch_size)
        if len(counts) == 1:
            yield self._get_samples(slice(None))  # type: ignore[arg-type]  # everything, without a copy
            return
        for columns in np.split(np.random.permutation(sum(counts)), np.cumsum(counts)[:-1]):
            yield self._get_samples(torch.as_tensor(columns, device=self.storage_device))  # type: ignore[arg-type]

    def _store(self) -> None:
        """Order the arrays by environment, as sb3-contrib does, and copy them to the storage device."""
        for name in self.fields:
            vars(self)[name] = flat = _map(self.swap_and_flatten, vars(self)[name])
            self._stored[name] = _map(self._to_columns, flat)
        self._stored_states = [
            torch.stack(sequences, dim=2).flatten(1, 2)  # (n_layers, n_envs * sequences, hidden_size)
            for sequences in zip(*((*states.pi, *states.vf) for states in self._states), strict=True)
        ]
        self.generator_ready = True

    def _to_columns(self, rows: np.ndarray) -> torch.Tensor:
        """``(n_envs * n_steps, ...)`` to ``(columns, sequence_length, ...)``, on the storage device."""
        stored = torch.as_tensor(rows, device=self.storage_device)
        return stored.view(-1, self.sequence_length, *stored.shape[1:])

    def _get_samples(self, batch_inds: np.ndarray, *args: Any, **kwargs: Any) -> Any:
        """The minibatch of these columns."""
        columns: Any = batch_inds

        def rows(stored: torch.Tensor, shape: tuple[int, ...] = ()) -> torch.Tensor:
            return stored[columns].to(self.device).reshape(-1, *shape)

        stored, shape = self._stored, vars(self)["obs_shape"]
        if isinstance(shape, dict):
            observations: Any = {key: rows(value, shape[key]) for key, value in stored["observations"].items()}
        else:
            observations = rows(stored["observations"], shape)
        hidden_pi, cell_pi, hidden_vf, cell_vf = (
            states[:, columns if isinstance(columns, slice) else columns.to(states.device)].to(self.device)
            for states in self._stored_states
        )
        returns = rows(stored["returns"])
        return self.samples(
            observations=observations,
            actions=rows(stored["actions"], (self.action_dim,)),
            old_values=rows(stored["values"]),
            old_log_prob=rows(stored["log_probs"]),
            advantages=rows(stored["advantages"]),
            returns=returns,
            lstm_states=RNNStates((hidden_pi, cell_pi), (hidden_vf, cell_vf)),
            episode_starts=rows(stored["episode_starts"]),
            mask=torch.ones_like(returns).as_subclass(NoPadding),
        )


def _map(function: Any, value: Any) -> Any:
    """A function of an array, or of each array in a dict."""
    return {key: function(part) for key, part in value.items()} if isinstance(value, dict) else function(value)


class ColumnRolloutBuffer(ColumnRolloutMixin, RecurrentRolloutBuffer):
    """sb3-contrib's ``RecurrentRolloutBuffer`` with minibatches of whole columns."""

    contrib = RecurrentRolloutBuffer
    samples = RecurrentRolloutBufferSamples


class ColumnDictRolloutBuffer(ColumnRolloutMixin, RecurrentDictRolloutBuffer):  # type: ignore[misc]  # as above
    """The same for Dict observations."""

    contrib = RecurrentDictRolloutBuffer
    samples = RecurrentDictRolloutBufferSamples


class MaskedStates(NamedTuple):
    """A minibatch's ``RNNStates`` with its masks: sb3-contrib's ``train()`` hands them to the policy as they are."""

    pi: tuple[torch.Tensor, ...]  # states of the actor at the first step of each column
    vf: tuple[torch.Tensor, ...]  # and of the critic
    action_masks: torch.Tensor  # (N, D), rows as those of the actions


class MaskedRolloutMixin(ColumnRolloutMixin):
    """Combines the buffer of columns with sb3-contrib's maskable one, which allocates the masks."""

    fields = (*FIELDS, "action_masks")
    action_masks: np.ndarray  # (n_steps, n_envs, D), later (n_envs * n_steps, D)
    mask_dims: int

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

    def _get_samples(self, batch_inds: np.ndarray, *args: Any, **kwargs: Any) -> Any:
        samples: Any = super()._get_samples(batch_inds, *args, **kwargs)
        masks = self._stored["action_masks"][batch_inds].to(self.device).flatten(0, 1)
        return samples._replace(lstm_states=MaskedStates(samples.lstm_states.pi, samples.lstm_states.vf, masks))


class RecurrentMaskableRolloutBuffer(  # type: ignore[misc]  # sb3-contrib's two differ in what add() and get() take
    MaskedRolloutMixin, ColumnRolloutBuffer, MaskableRolloutBuffer
):
    """``ColumnRolloutBuffer`` and sb3-contrib's ``MaskableRolloutBuffer`` in one."""


class RecurrentMaskableDictRolloutBuffer(  # type: ignore[misc]  # as above
    MaskedRolloutMixin, ColumnDictRolloutBuffer, MaskableDictRolloutBuffer
):
    """The same for Dict observations."""
