"""Base of ``CfC``, ``LRC`` and ``LTC``: a cell over batches of sequences, and the projection of its outputs."""

from __future__ import annotations

import torch
from torch import nn

from velora_sb3.cells._checks import check_tensor
from velora_sb3.cells.cell import LiquidCell
from velora_sb3.cells.kernels.plain_form import is_tracing
from velora_sb3.cells.mixed_memory import MixedMemoryCell
from velora_sb3.cells.unroll import unroll


class SequenceModule(nn.Module):
    """A cell over sequences, with ncps's arguments.

    Args:
        cell: The cell of one time step.
        return_sequences: Whether to return the output of every step or only of the last one.
        batch_first: Inputs are ``(B, T, F)``, or ``(T, B, F)`` if False.
        mixed_memory: Whether to put an LSTM memory cell before the cell.
        proj_size: Width of a linear layer on the outputs; None for none.
    """

    def __init__(
        self,
        cell: LiquidCell,
        *,
        return_sequences: bool,
        batch_first: bool,
        mixed_memory: bool,
        proj_size: int | None = None,
    ) -> None:
        super().__init__()
        self.cell: LiquidCell = MixedMemoryCell(cell) if mixed_memory else cell
        self.return_sequences = return_sequences
        self.batch_first = batch_first
        self.projection = None if proj_size is None else nn.Linear(cell.output_size, proj_size)
        self.input_size = self.cell.input_size
        self.state_size = self.cell.state_size
        self.output_size = cell.output_size if proj_size is None else proj_size

    def forward(
        self,
        inputs: torch.Tensor,
        state: torch.Tensor | None = None,
        timespans: torch.Tensor | None = None,
        episode_starts: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Unroll the cell over the inputs.

        Args:
            inputs: ``(B, T, F)``; ``(T, B, F)`` if not ``batch_first``; ``(T, F)`` for a single sequence.
            state: ``(B, state_size)``; ``(state_size,)`` for a single sequence; None is the zero state.
            timespans: Time since the last step, not negative, in the environment's time unit; in the inputs' shape
                without the last dimension, or with 1 there. None is 1.
            episode_starts: True where an episode starts, in the shape of the timespans.

        Returns:
            Outputs in the layout of the inputs (without the time dimension unless ``return_sequences``)
            and the last state in the layout of ``state``.

        Raises:
            ValueError: If a shape or a value is wrong.
            TypeError: If an argument is no tensor, or the state is not of the inputs' type.
        """
        check_tensor("inputs", inputs)
        if inputs.dim() not in (2, 3):
            raise ValueError(
                f"inputs must have 2 dimensions (time, features) or 3 with a batch, got shape {tuple(inputs.shape)}"
            )
        batched = inputs.dim() == 3
        time_first = batched and not self.batch_first

        def to_time_first(sequence: torch.Tensor) -> torch.Tensor:
            if not batched:
                return sequence.unsqueeze(1)
            return sequence if time_first else sequence.transpose(0, 1)

        def marks(name: str, values: torch.Tensor | None) -> torch.Tensor | None:
            if values is None:
                return None
            check_tensor(name, values)
            if values.dim() == inputs.dim() and values.shape[-1] == 1:
                values = values.squeeze(-1)
            if not is_tracing() and values.shape != inputs.shape[:-1]:
                raise ValueError(f"{name} must have shape {tuple(inputs.shape[:-1])}, got {tuple(values.shape)}")
            return to_time_first(values)

        if not batched and isinstance(state, torch.Tensor):
            state = state.unsqueeze(0)
        outputs, state = unroll(
            self.cell,
            to_time_first(inputs),
            state,
            episode_starts=marks("episode_starts", episode_starts),
            timespans=marks("timespans", timespans),
        )
        if not self.return_sequences:
            outputs = outputs[-1:]
        if self.projection is not None:
            outputs = self.projection(outputs)
        if not self.return_sequences:
            outputs = outputs[0]
            return (outputs, state) if batched else (outputs[0], state[0])
        if not batched:
            return outputs[:, 0], state[0]
        return (outputs if time_first else outputs.transpose(0, 1)), state
