"""torch's GRU and LSTM as cells, with resets and, where there are timespans, the time as one more input."""

from __future__ import annotations

from abc import abstractmethod
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from velora_sb3._validation import check_bool, check_integer
from velora_sb3.cells.cell import LiquidCell, recompute_weights, with_time
from velora_sb3.cells.kernels import cpu, gru, lstm
from velora_sb3.cells.kernels.plain_form import needs_plain_form


class TorchCell(LiquidCell):
    """A recurrent network of torch's with one layer.

    On a CPU a sequence runs in a compiled kernel that resets states within it (:mod:`velora_sb3.cells.kernels.cpu`).
    torch's kernels cannot, so elsewhere a sequence is cut where an episode starts anywhere in the batch, and each piece
    is one call.
    """

    network: nn.RNNBase

    def __init__(self, input_size: int, hidden_size: int, timed: bool) -> None:
        super().__init__()
        self.input_size = check_integer("input_size", input_size)
        self.output_size = self.hidden_size = check_integer("hidden_size", hidden_size)
        self.timed = check_bool("timed", timed)

    def prepare(self, timed: bool) -> None:
        """None: torch's weights are used as they are."""
        if timed and not self.timed:
            raise ValueError(f"{type(self).__name__} got timespans: create it with timed=True")
        recompute_weights(self.network)

    @property
    def weights(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Weights of the inputs, of the state, and the biases of both."""
        network: Any = self.network
        return network.weight_ih_l0, network.weight_hh_l0, network.bias_ih_l0, network.bias_hh_l0

    def _with_time(self, inputs: torch.Tensor, timespans: torch.Tensor | None) -> torch.Tensor:
        """The inputs, and the time since the last step beside them if the cell takes it."""
        return with_time(inputs, timespans) if self.timed else inputs

    @abstractmethod
    def _compiled(
        self, inputs: torch.Tensor, state: torch.Tensor | None, starts: torch.Tensor | None
    ) -> tuple[torch.Tensor, ...]:
        """The parts of the state after every step, each ``(T, B, H)``, of the C kernel; the first is the output."""

    @abstractmethod
    def _run(self, inputs: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Outputs ``(T, B, H)`` and the last state ``(B, S)`` of a sequence without resets, of torch's kernel."""

    @abstractmethod
    def _states(
        self, outputs: torch.Tensor, inputs: torch.Tensor, state: torch.Tensor | None, starts: torch.Tensor | None
    ) -> torch.Tensor:
        """The states after every step ``(T, B, S)``, from the outputs of torch's kernel."""

    def outputs(
        self,
        inputs: torch.Tensor,
        state: torch.Tensor | None,
        starts: torch.Tensor | None,
        timespans: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """All outputs and the last state."""
        if needs_plain_form() or inputs.is_meta:
            return super().outputs(inputs, state, starts, timespans)
        self.prepare(timespans is not None)
        inputs = self._with_time(inputs, timespans)
        if cpu.supports(inputs, self.hidden_size):
            parts = self._compiled(inputs, state, starts)
            return parts[0], torch.cat([part[-1] for part in parts], dim=-1)
        return self._in_pieces(inputs, state, starts)

    def sequence(
        self,
        inputs: torch.Tensor,
        state: torch.Tensor | None,
        starts: torch.Tensor | None,
        timespans: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """All outputs and states."""
        if needs_plain_form() or inputs.is_meta:
            return super().sequence(inputs, state, starts, timespans)
        self.prepare(timespans is not None)
        inputs = self._with_time(inputs, timespans)
        if cpu.supports(inputs, self.hidden_size):
            parts = self._compiled(inputs, state, starts)
            return parts[0], torch.cat(parts, dim=-1)
        outputs, _ = self._in_pieces(inputs, state, starts)
        return outputs, self._states(outputs, inputs, state, starts)

    def _in_pieces(
        self, inputs: torch.Tensor, state: torch.Tensor | None, starts: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """All outputs and the last state: one call of torch's kernel for each piece between two resets."""
        steps, batch, _ = inputs.shape
        state = inputs.new_zeros(batch, self.state_size) if state is None else state
        has_start = [False] * steps if starts is None else starts.flatten(1).any(1).tolist()
        pieces = []
        for first, last in pairwise([0, *(t for t in range(1, steps) if has_start[t]), steps]):
            if starts is not None and has_start[first]:
                state = torch.where(starts[first], 0, state)
            piece, state = self._run(inputs[first:last], state)
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces), state


class GRUCell(TorchCell):
    """torch's ``nn.GRU`` with one layer. It has no clock: with ``timed``, the time since the last step is an input.

    Args:
        input_size: Number of features ``F``.
        hidden_size: Number of units ``H``; state and output have this width.
        timed: Whether steps have timespans.

    Raises:
        ValueError: If an argument is out of range.

    References:
        Cho et al. (2014), https://arxiv.org/abs/1406.1078.
    """

    def __init__(self, input_size: int, hidden_size: int, timed: bool = False) -> None:
        super().__init__(input_size, hidden_size, timed)
        self.state_size = self.hidden_size
        self.network = nn.GRU(self.input_size + int(self.timed), self.hidden_size)

    def step(
        self, prepared: Any, inputs: torch.Tensor, state: torch.Tensor | None, timespans: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One step of torch's cell."""
        inputs, weights = self._with_time(inputs, timespans), self.weights
        state = inputs.new_zeros(inputs.shape[0], self.state_size) if state is None else state
        if not needs_plain_form():
            state = torch.gru_cell(inputs, state, *weights)
            return state, state
        by_inputs = functional.linear(inputs, weights[0], weights[2])
        state = gru.advance(by_inputs, functional.linear(state, weights[1], weights[3]), state)
        return state, state

    def _compiled(
        self, inputs: torch.Tensor, state: torch.Tensor | None, starts: torch.Tensor | None
    ) -> tuple[torch.Tensor, ...]:
        return (gru.gru_sequence(inputs, state, *self.weights, starts),)

    def _run(self, inputs: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        outputs, last = self.network(inputs, state.unsqueeze(0).contiguous())
        return outputs, last[0]

    def _states(
        self, outputs: torch.Tensor, inputs: torch.Tensor, state: torch.Tensor | None, starts: torch.Tensor | None
    ) -> torch.Tensor:
        return outputs


class LSTMCell(TorchCell):
    """torch's ``nn.LSTM`` with one layer. It has no clock: with ``timed``, the time since the last step is an input.

    The state is one tensor ``(B, 2H)``: first the output ``h``, then the memory ``c``.

    Args:
        input_size: Number of features ``F``.
        hidden_size: Number of units ``H``, the width of the output.
        timed: Whether steps have timespans.

    Raises:
        ValueError: If an argument is out of range.

    References:
        Hochreiter and Schmidhuber (1997), "Long Short-Term Memory", https://doi.org/10.1162/neco.1997.9.8.1735.
    """

    def __init__(self, input_size: int, hidden_size: int, timed: bool = False) -> None:
        super().__init__(input_size, hidden_size, timed)
        self.state_size = 2 * self.hidden_size
        self.network = nn.LSTM(self.input_size + int(self.timed), self.hidden_size)

    def step(
        self, prepared: Any, inputs: torch.Tensor, state: torch.Tensor | None, timespans: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One step of torch's cell."""
        inputs, weights = self._with_time(inputs, timespans), self.weights
        state = inputs.new_zeros(inputs.shape[0], self.state_size) if state is None else state
        hidden, memory = state.chunk(2, dim=-1)
        if not needs_plain_form():
            hidden, memory = torch.lstm_cell(inputs, (hidden, memory), *weights)
        else:
            gates = functional.linear(inputs, weights[0], weights[2])
            gates = gates + functional.linear(hidden, weights[1], weights[3])
            hidden, memory = lstm.advance(gates, memory)
        return hidden, torch.cat([hidden, memory], dim=-1)

    def _compiled(
        self, inputs: torch.Tensor, state: torch.Tensor | None, starts: torch.Tensor | None
    ) -> tuple[torch.Tensor, ...]:
        weight_ih, weight_hh, bias_ih, bias_hh = self.weights
        return lstm.lstm_sequence(inputs, state, weight_ih, weight_hh, bias_ih + bias_hh, starts)

    def _run(self, inputs: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden, memory = state.unsqueeze(0).chunk(2, dim=-1)
        outputs, (hidden, memory) = self.network(inputs, (hidden.contiguous(), memory.contiguous()))
        return outputs, torch.cat([hidden[0], memory[0]], dim=-1)

    def _states(
        self, outputs: torch.Tensor, inputs: torch.Tensor, state: torch.Tensor | None, starts: torch.Tensor | None
    ) -> torch.Tensor:
        """Torch's kernel keeps the memories to itself, so they are computed from its outputs once more."""
        state = inputs.new_zeros(inputs.shape[1], self.state_size) if state is None else state
        hidden, memory = state.chunk(2, dim=-1)
        before = torch.cat([hidden.unsqueeze(0), outputs[:-1]])
        if starts is not None:
            before = torch.where(starts, 0, before)
        weight_ih, weight_hh, bias_ih, bias_hh = self.weights
        gates = functional.linear(inputs, weight_ih, bias_ih) + functional.linear(before, weight_hh, bias_hh)
        write, forget, value, _ = gates.chunk(4, dim=-1)
        written, kept = write.sigmoid() * value.tanh(), forget.sigmoid()
        memories = []
        for t in range(inputs.shape[0]):
            memory = memory if starts is None else torch.where(starts[t], 0, memory)  # a product would keep NaN
            memory = torch.addcmul(written[t], kept[t], memory)
            memories.append(memory)
        return torch.cat([outputs, torch.stack(memories)], dim=-1)
