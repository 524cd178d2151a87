"""A whole sequence of torch's LSTM, with resets within it, in the C kernel as one autograd function.

Blocks of the products, each ``H`` wide, in torch's order: input gate, forget gate, candidate, output gate.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from velora_sb3.cells.kernels.cpu import lstm as on_cpu
from velora_sb3.cells.kernels.plain_form import needs_plain_gradients, plain_gradients
from velora_sb3.cells.kernels.sequence import OptionalTensor, states_before, weight_gradients


def advance(products: torch.Tensor, memory: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The pointwise part of a step, as plain, differentiable operations.

    Args:
        products: The gates' products side by side ``(B, 4H)``.
        memory: The memory before the step ``(B, H)``.

    Returns:
        Output and memory after the step, each ``(B, H)``.
    """
    write, forget, value, read = products.chunk(4, dim=-1)
    memory = forget.sigmoid() * memory + write.sigmoid() * value.tanh()
    return read.sigmoid() * memory.tanh(), memory


def _plain(
    inputs: torch.Tensor,
    state: OptionalTensor,
    weight_ih: torch.Tensor,
    weight_hh: torch.Tensor,
    bias: torch.Tensor,
    starts: OptionalTensor,
) -> torch.Tensor:
    """Outputs and memories ``(2, T, B, H)``, in operations that can be differentiated any number of times."""
    if state is None:
        state = inputs.new_zeros(inputs.shape[1], 2 * weight_hh.shape[-1])
    hidden, memory = state.chunk(2, dim=-1)
    steps = []
    for t, products in enumerate(functional.linear(inputs, weight_ih, bias).unbind(0)):
        if starts is not None:
            hidden, memory = torch.where(starts[t], 0, hidden), torch.where(starts[t], 0, memory)
        hidden, memory = advance(products + hidden @ weight_hh.t(), memory)
        steps.append(torch.stack([hidden, memory]))
    return torch.stack(steps, dim=1)


class _LSTMSequence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        inputs: torch.Tensor,  # (T, B, F)
        state: OptionalTensor,  # (B, 2H), None for the zero state
        weight_ih: torch.Tensor,  # (4H, F)
        weight_hh: torch.Tensor,  # (4H, H)
        bias: torch.Tensor,  # (4H,)
        starts: OptionalTensor,  # (T, B, 1), bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        keep = any(ctx.needs_input_grad)
        gates, hidden, memories = on_cpu.forward(inputs, weight_ih, weight_hh, bias, state, starts, keep)
        if keep:
            ctx.set_materialize_grads(False)
            ctx.save_for_backward(inputs, state, weight_ih, weight_hh, bias, starts, gates, hidden, memories)
        return hidden, memories

    @staticmethod
    def backward(ctx: Any, grad_hidden: OptionalTensor, grad_memories: OptionalTensor) -> tuple[OptionalTensor, ...]:
        *arguments, gates, hidden, memories = ctx.saved_tensors
        inputs, state, weight_ih, weight_hh, _, starts = arguments
        if needs_plain_gradients(grad_hidden, grad_memories):
            grads = [torch.zeros_like(hidden) if grad is None else grad for grad in (grad_hidden, grad_memories)]
            return tuple(plain_gradients(_plain, arguments, torch.stack(grads)))
        first, memory = (None, None) if state is None else state.chunk(2, dim=-1)
        before, memory_before = states_before(hidden, first, starts), states_before(memories, memory, starts)
        grad_gates, grad_state = on_cpu.backward(
            grad_hidden, grad_memories, gates, weight_hh, memories, memory_before, starts
        )
        needs = ctx.needs_input_grad
        return (
            *(grad_gates @ weight_ih if needs[0] else None, grad_state if needs[1] else None),
            *(*weight_gradients(grad_gates, inputs, before), None),
        )


def lstm_sequence(
    inputs: torch.Tensor,
    state: OptionalTensor,
    weight_ih: torch.Tensor,
    weight_hh: torch.Tensor,
    bias: torch.Tensor,
    starts: OptionalTensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """All steps of torch's LSTM, on a CPU that :func:`velora_sb3.cells.kernels.cpu.supports`.

    Args:
        inputs: ``(T, B, F)``.
        state: State before the first step ``(B, 2H)``, output and memory; None is the zero state.
        weight_ih: Weights from the inputs ``(4H, F)``.
        weight_hh: Weights from the outputs ``(4H, H)``.
        bias: Sum of torch's two biases ``(4H,)``.
        starts: True where an episode starts ``(T, B, 1)``.

    Returns:
        Output and memory after every step, each ``(T, B, H)``.
    """
    given = inputs, state, weight_ih, weight_hh, bias, starts
    if not torch.is_grad_enabled():
        return on_cpu.forward(inputs, weight_ih, weight_hh, bias, state, starts, keep=False)[1:]
    made: tuple[torch.Tensor, torch.Tensor] = _LSTMSequence.apply(*given)  # type: ignore[no-untyped-call]
    return made
