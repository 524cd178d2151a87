r"""A whole sequence of a mixed memory cell around a dense CfC in one autograd function.

As :mod:`velora_sb3.cells.kernels.cfc`: the inputs' part of all products is made before the loop, a step is two
``addmm`` and a few pointwise operations, the backward pass has the derivatives of all steps at once before its own
loop and the weights' gradients in one matrix product each after it. :mod:`velora_sb3.cells.kernels.cpu` and,
on an NVIDIA GPU, :mod:`velora_sb3.cells.kernels.gpu` replace both loops.

Blocks of the LSTM's products, each ``H`` wide: ``a, i, f, o``; of the CfC's: ``f, g, s`` and, with timespans, ``a``.
See :mod:`velora_sb3.cells.mixed_memory` and :mod:`velora_sb3.cells.kernels.cfc_gates` for the equations.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch.nn import functional

from velora_sb3.cells.kernels import cpu
from velora_sb3.cells.kernels.cfc import add, blend, gate_derivatives
from velora_sb3.cells.kernels.cfc_gates import next_state
from velora_sb3.cells.kernels.cpu import mixed_memory as on_cpu
from velora_sb3.cells.kernels.plain_form import needs_plain_form, needs_plain_gradients, plain_gradients
from velora_sb3.cells.kernels.sequence import OptionalTensor, compiled, reset_masks, states_before, weight_gradients


def write(products: torch.Tensor, memory: OptionalTensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The pointwise part of the LSTM's half of a step, as plain, differentiable operations.

    Args:
        products: ``a, i, f, o`` side by side ``(B, 4H)``.
        memory: ``(B, H)``; None is zero.

    Returns:
        What the liquid cell starts from and the LSTM's memory, each ``(B, H)``.
    """
    candidate, input_gate, forget_gate, output_gate = products.chunk(4, dim=-1)
    written = torch.sigmoid(input_gate) * torch.tanh(candidate)
    memory = written if memory is None else torch.sigmoid(forget_gate + 1) * memory + written
    return torch.sigmoid(output_gate) * torch.tanh(memory), memory


def _plain(mode: str, inputs: torch.Tensor, state: OptionalTensor, *rest: Any) -> torch.Tensor:
    """The whole sequence step by step, in operations that can be differentiated any number of times."""
    lstm_ih, lstm_hh, lstm_bias, weight_ih, weight_hh, bias, starts, timespans = rest
    if state is None:
        state = inputs.new_zeros(inputs.shape[1], 2 * lstm_hh.shape[-1])
    states = []
    projected = functional.linear(inputs, lstm_ih, lstm_bias), functional.linear(inputs, weight_ih, bias)
    steps = zip(*(products.unbind(0) for products in projected), strict=True)
    for t, (products, gates) in enumerate(steps):
        hidden, memory = (state if starts is None else torch.where(starts[t], 0, state)).chunk(2, dim=-1)
        hidden, memory = write(products + hidden @ lstm_hh.t(), memory)
        time = None if timespans is None else timespans[t]
        hidden = next_state(gates + hidden @ weight_hh.t(), time, mode, None, None)
        state = torch.cat([hidden, memory], dim=-1)
        states.append(state)
    return torch.stack(states)


def _loop(
    products: torch.Tensor,  # (T, B, 4H): the LSTM's products of the inputs, overwritten with a, i, f, o
    gates: torch.Tensor,  # (T, B, blocks*H): the CfC's, overwritten with the activations
    lstm_hh: torch.Tensor,
    weight_hh: torch.Tensor,
    state: OptionalTensor,
    resets: list[OptionalTensor],
    timespans: OptionalTensor,
    mode: str,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What the LSTM wrote in every step ``(T, B, H)``, the states ``(T, B, 2H)`` and tanh of the memory."""
    steps, batch, _ = gates.shape
    size = weight_hh.shape[-1]
    written, squashed = gates.new_empty(2, steps, batch, size).unbind(0)
    states = gates.new_empty(steps, batch, 2 * size)
    carried, memories = states.chunk(2, dim=-1)

    products[..., 2 * size : 3 * size] += 1  # the forget gate's offset
    lstm_recurrent, recurrent = lstm_hh.clone(), weight_hh.clone()
    for heads in (products[..., :size], lstm_recurrent[:size], gates[..., : 2 * size], recurrent[: 2 * size]):
        heads *= 2  # tanh x = 2 sigmoid(2 x) - 1
    rest = 0.0  # what the zero state is in the loop's terms
    hidden, memory = gates.new_zeros(2, batch, size).unbind(0) if state is None else state.chunk(2, dim=-1)
    if mode == "default":  # the loop carries u = (h + 1) / 2
        products -= lstm_recurrent.sum(dim=1)
        lstm_recurrent *= 2
        rest, hidden = 0.5, (hidden + 1) / 2
    step = (blend if mode == "default" else add)(gates, carried, timespans)
    fresh = gates.new_tensor(rest)
    rows, columns, lstm_weights, weights = products.unbind(0), gates.unbind(0), lstm_recurrent.t(), recurrent.t()
    candidate, input_gate, forget_gate, output_gate = (block.unbind(0) for block in products.chunk(4, dim=-1))
    after, kept, bounded, start = (made.unbind(0) for made in (carried, memories, squashed, written))
    for t, reset in enumerate(resets):
        if reset is not None:
            hidden, memory = torch.where(reset, fresh, hidden), torch.where(reset, 0, memory)
        rows[t].addmm_(hidden, lstm_weights).sigmoid_()
        memory = torch.mul(forget_gate[t], memory, out=kept[t])
        memory.addcmul_(input_gate[t], candidate[t], value=2).sub_(input_gate[t])  # 2 sigmoid(2 a) - 1 = tanh a
        torch.mul(output_gate[t], torch.tanh(memory, out=bounded[t]), out=start[t])
        columns[t].addmm_(start[t], weights)
        step(t)
        hidden = after[t]
    products[..., :size].mul_(2).sub_(1)
    if mode == "default":
        carried.mul_(2).sub_(1)
    return written, states, squashed


def _loop_backward(
    grad_states: torch.Tensor,  # (T, B, 2H)
    products: torch.Tensor,
    grad_gates: torch.Tensor,  # (T, B, blocks, H): the derivatives, overwritten with the gradients
    lstm_hh: torch.Tensor,
    weight_hh: torch.Tensor,
    squashed: torch.Tensor,
    memory_before: torch.Tensor,
    resets: list[OptionalTensor],
) -> tuple[torch.Tensor, torch.Tensor]:
    """The gradients of the LSTM's products ``(T, B, 4H)`` and of the first state ``(B, 2H)``."""
    steps, batch, size = squashed.shape
    # Derivatives of all steps: of what was written by memory and output gate, of the memory by its three gates.
    candidate, input_gate, forget_gate, output_gate = products.chunk(4, dim=-1)
    by_memory = torch.addcmul(output_gate, output_gate * squashed, squashed, value=-1)
    grad_products = products.new_empty(steps, batch, 4, size)
    grad_products[:, :, 0] = torch.addcmul(input_gate, input_gate * candidate, candidate, value=-1)
    grad_products[:, :, 1] = torch.addcmul(input_gate, input_gate, input_gate, value=-1).mul_(candidate)
    grad_products[:, :, 2] = torch.addcmul(forget_gate, forget_gate, forget_gate, value=-1).mul_(memory_before)
    grad_products[:, :, 3] = torch.addcmul(output_gate, output_gate, output_gate, value=-1).mul_(squashed)

    grad_hidden, grad_memory = grad_states.clone(memory_format=torch.contiguous_format).chunk(2, dim=-1)
    hidden, memory, of_written = grad_hidden.unbind(0), grad_memory.unbind(0), by_memory.unbind(0)
    hidden_columns, memory_columns = grad_hidden.unsqueeze(2).unbind(0), grad_memory.unsqueeze(2).unbind(0)
    blocks, rows = grad_gates.unbind(0), grad_gates.flatten(2).unbind(0)
    of_memory, of_output = grad_products[:, :, :3].unbind(0), grad_products[:, :, 3].unbind(0)
    lstm_rows, forget = grad_products.flatten(2).unbind(0), forget_gate.unbind(0)
    through = squashed.new_empty(batch, size)
    for t in range(steps - 1, -1, -1):
        blocks[t].mul_(hidden_columns[t])
        torch.mm(rows[t], weight_hh, out=through)
        memory[t].addcmul_(through, of_written[t])
        of_memory[t].mul_(memory_columns[t])
        of_output[t].mul_(through)
        if t == 0:
            break
        reset = resets[t]
        if reset is None:
            hidden[t - 1].addmm_(lstm_rows[t], lstm_hh)
            memory[t - 1].addcmul_(memory[t], forget[t])
        else:
            hidden[t - 1].add_(torch.where(reset, 0, torch.mm(lstm_rows[t], lstm_hh, out=through)))
            memory[t - 1].add_(torch.where(reset, 0, memory[t] * forget[t]))
    grad_state = torch.cat([lstm_rows[0] @ lstm_hh, memory[0] * forget[0]], dim=-1)
    grad_state = grad_state if resets[0] is None else torch.where(resets[0], 0, grad_state)
    return grad_products.flatten(2), grad_state


class _MixedMemorySequence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        inputs: torch.Tensor,  # (T, B, F)
        state: OptionalTensor,  # (B, 2H), None for the zero state
        lstm_ih: torch.Tensor,  # (4H, F)
        lstm_hh: torch.Tensor,  # (4H, H)
        lstm_bias: torch.Tensor,  # (4H,)
        weight_ih: torch.Tensor,  # (blocks*H, F)
        weight_hh: torch.Tensor,  # (blocks*H, H)
        bias: torch.Tensor,  # (blocks*H,)
        starts: OptionalTensor,  # (T, B, 1), bool
        timespans: OptionalTensor,  # (T, B, 1)
        mode: str,
    ) -> torch.Tensor:
        squashed = None
        ctx.mode = mode
        ctx.compiled = compiled("mixed_memory", inputs, weight_hh.shape[-1], len(lstm_bias))
        states: torch.Tensor
        if ctx.compiled is not None:
            weights = (lstm_ih, lstm_hh, lstm_bias, weight_ih, weight_hh, bias)
            made = ctx.compiled.forward(inputs, *weights, state, starts, timespans, mode)
            products, gates, written, states = made
        else:
            ctx.resets = reset_masks(starts, len(inputs))
            products = functional.linear(inputs, lstm_ih, lstm_bias)
            gates = functional.linear(inputs, weight_ih, bias)
            written, states, squashed = _loop(products, gates, lstm_hh, weight_hh, state, ctx.resets, timespans, mode)
        ctx.save_for_backward(
            *(inputs, state, lstm_ih, lstm_hh, lstm_bias, weight_ih, weight_hh, bias, starts, timespans),
            *(products, gates, written, squashed, states),
        )
        return states

    @staticmethod
    def backward(ctx: Any, grad_states: torch.Tensor) -> tuple[OptionalTensor, ...]:
        saved = ctx.saved_tensors  # unpacked once: torch.utils.checkpoint allows no more
        arguments, made = saved[:10], saved[10:]
        if needs_plain_gradients(grad_states):
            return (*plain_gradients(partial(_plain, ctx.mode), arguments, grad_states), None)
        inputs, state, lstm_ih, lstm_hh, _, weight_ih, weight_hh, _, starts, timespans = arguments
        products, gates, written, squashed, states = made
        size = written.shape[-1]
        needs = ctx.needs_input_grad
        before = states_before(states, state, starts)
        grad_times = None
        if ctx.compiled is not None:
            grad_products, grad_gates, grad_state, grad_times = ctx.compiled.backward(
                *(grad_states, products, gates, lstm_hh, weight_hh, states, before, starts, timespans, ctx.mode)
            )
        else:
            derivatives = gate_derivatives(ctx.mode, gates, timespans, None, None)
            grad_products, grad_state = _loop_backward(
                grad_states, products, derivatives, lstm_hh, weight_hh, squashed, before[..., size:], ctx.resets
            )
            grad_gates = derivatives.flatten(2)
            if needs[9]:
                grad_times = (derivatives[:, :, 2] * gates[..., 3 * size :]).sum(-1, keepdim=True)
        grad_inputs = grad_products @ lstm_ih + grad_gates @ weight_ih if needs[0] else None
        return (
            *(grad_inputs, grad_state if needs[1] else None),
            *weight_gradients(grad_products, inputs, before[..., :size]),
            *weight_gradients(grad_gates, inputs, written),
            *(None, grad_times if needs[9] else None, None),
        )


def mixed_memory_sequence(
    inputs: torch.Tensor,
    state: OptionalTensor,
    lstm_ih: torch.Tensor,
    lstm_hh: torch.Tensor,
    lstm_bias: torch.Tensor,
    weight_ih: torch.Tensor,
    weight_hh: torch.Tensor,
    bias: torch.Tensor,
    starts: OptionalTensor,
    timespans: OptionalTensor,
    mode: str,
) -> torch.Tensor:
    """All steps of a mixed memory cell around a CfC without backbone.

    Args:
        inputs: ``(T, B, F)``.
        state: State before the first step ``(B, 2H)``, hidden and memory; None is the zero state.
        lstm_ih: The LSTM's weights from the inputs ``(4H, F)``.
        lstm_hh: The LSTM's weights from the hidden state ``(4H, H)``.
        lstm_bias: The LSTM's bias ``(4H,)``.
        weight_ih: The CfC's weights from the inputs to every gate ``(blocks * H, F)``.
        weight_hh: The CfC's weights from what the LSTM wrote to every gate ``(blocks * H, H)``.
        bias: The CfC's bias of every gate ``(blocks * H,)``.
        starts: True where an episode starts ``(T, B, 1)``.
        timespans: ``(T, B, 1)``; None is 1.
        mode: ``default`` or ``no_gate``.

    Returns:
        The state after every step ``(T, B, 2H)``.
    """
    if needs_plain_form():
        return _plain(mode, inputs, state, lstm_ih, lstm_hh, lstm_bias, weight_ih, weight_hh, bias, starts, timespans)
    if not torch.is_grad_enabled() and cpu.supports(inputs, weight_hh.shape[-1]):
        weights = (lstm_ih, lstm_hh, lstm_bias, weight_ih, weight_hh, bias)
        return on_cpu.forward(inputs, *weights, state, starts, timespans, mode, keep=False)[3]
    states: torch.Tensor = _MixedMemorySequence.apply(  # type: ignore[no-untyped-call]
        inputs, state, lstm_ih, lstm_hh, lstm_bias, weight_ih, weight_hh, bias, starts, timespans, mode
    )
    return states
