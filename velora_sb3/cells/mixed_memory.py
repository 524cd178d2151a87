"""A liquid cell behind an LSTM memory cell: ``mixed_memory=True``."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from velora_sb3._validation import check_bool
from velora_sb3.cells.cell import LiquidCell, recompute_weights, with_time
from velora_sb3.cells.cfc_cell import CfCCell, CfCWeights
from velora_sb3.cells.kernels import cpu
from velora_sb3.cells.kernels.mixed_memory import mixed_memory_sequence, write


class MixedMemoryCell(LiquidCell):
    r"""A liquid cell whose step starts from the output of an LSTM memory cell.

    With :math:`z = W x + R h + b` in four parts,

    .. math::
        c' = \sigma(z_f + 1) \, c + \sigma(z_i) \tanh(z_a), \qquad
        \tilde h = \sigma(z_o) \tanh(c'), \qquad
        (y, h') = \mathrm{cell}(x, \tilde h)

    The state is one tensor ``(B, 2 * cell.state_size)``: first ``h``, then ``c``. The LSTM has no clock: with
    ``timed``, the time since the last step is one more input of :math:`W`.

    Args:
        cell: The liquid cell, the second half of each step.
        timed: Whether the LSTM sees the timespans.

    References:
        Lechner and Hasani (2020), "Learning Long-Term Dependencies in Irregularly-Sampled Time Series",
        https://arxiv.org/abs/2006.04418, equations 5 to 8. Differs from ncps: the state is one tensor; ``timed``.
    """

    def __init__(self, cell: LiquidCell, timed: bool = False) -> None:
        super().__init__()
        self.cell = cell
        self.timed = check_bool("timed", timed)
        self.input_size = cell.input_size
        self.state_size = 2 * cell.state_size
        self.output_size = cell.output_size
        hidden = cell.state_size
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden, cell.input_size + int(timed)))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden, hidden))
        self.bias = nn.Parameter(torch.empty(4 * hidden))
        nn.init.xavier_uniform_(self.weight_ih)
        nn.init.orthogonal_(self.weight_hh)
        nn.init.uniform_(self.bias, -0.1, 0.1)

    def prepare(self, timed: bool) -> Any:
        """The inner cell's prepared weights; the LSTM's own are used as they are."""
        recompute_weights(self)
        return self.cell.prepare(timed)

    def step(
        self, prepared: Any, inputs: torch.Tensor, state: torch.Tensor | None, timespans: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One LSTM step, then one step of the liquid cell from its output."""
        cfc = self._plain_cfc()
        if cfc is not None and state is not None and cpu.supports_step(inputs, cfc.state_size):
            timed = None if timespans is None else timespans.unsqueeze(0)
            output, states = self._fused(cfc, prepared, inputs.unsqueeze(0), state, None, timed)
            return output[0], states[0]
        hidden, memory = self.write(inputs, state, timespans)
        output, hidden = self.cell.step(prepared, inputs, hidden, timespans)
        return output, torch.cat([hidden, memory], dim=-1)

    def write(
        self, inputs: torch.Tensor, state: torch.Tensor | None, timespans: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The LSTM's half of a step.

        Args:
            inputs: ``(B, F)``.
            state: ``(B, S)``; None is the zero state.
            timespans: ``(B, 1)``; None is 1.

        Returns:
            The liquid cell's initial state and the LSTM's memory, each ``(B, cell.state_size)``.
        """
        inputs = with_time(inputs, timespans) if self.timed else inputs
        products = functional.linear(inputs, self.weight_ih, self.bias)
        if state is None:
            return write(products, None)
        hidden, memory = state.chunk(2, dim=-1)
        return write(torch.addmm(products, hidden, self.weight_hh.t()), memory)

    def sequence(
        self,
        inputs: torch.Tensor,
        state: torch.Tensor | None,
        starts: torch.Tensor | None,
        timespans: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """All steps: one fused kernel around a dense CfC, else step by step."""
        cfc = self._plain_cfc()
        if cfc is None:
            return super().sequence(inputs, state, starts, timespans)
        return self._fused(cfc, self.prepare(timespans is not None), inputs, state, starts, timespans)

    def _plain_cfc(self) -> CfCCell | None:
        """The liquid cell, if the kernel has its equations."""
        cell = self.cell
        return cell if isinstance(cell, CfCCell) and cell.backbone is None and cell.mode != "pure" else None

    def _fused(
        self,
        cfc: CfCCell,
        prepared: CfCWeights,
        inputs: torch.Tensor,
        state: torch.Tensor | None,
        starts: torch.Tensor | None,
        timespans: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Outputs ``(T, B, H)`` and states ``(T, B, 2H)``."""
        weight_ih, weight_hh, bias = prepared
        if self.timed:  # the kernel has one input for both halves
            inputs, weight_ih = with_time(inputs, timespans), functional.pad(weight_ih, (0, 1))
        weights = (self.weight_ih, self.weight_hh, self.bias, weight_ih, weight_hh, bias)
        states = mixed_memory_sequence(inputs, state, *weights, starts, timespans, cfc.mode)
        return states[..., : cfc.state_size], states

    @torch.no_grad()
    def import_lstm(self, lstm: Any) -> None:
        """Copy the weights of an ncps ``LSTMCell``.

        Args:
            lstm: A module with ``input_map`` and ``recurrent_map``, as ``ncps.torch.lstm.LSTMCell`` has.
        """
        self.weight_ih.copy_(lstm.input_map.weight)
        self.bias.copy_(lstm.input_map.bias)
        self.weight_hh.copy_(lstm.recurrent_map.weight)
