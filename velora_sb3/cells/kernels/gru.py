r"""A whole sequence of torch's GRU, with resets within it, in the C kernel as one autograd function.

Blocks of the products, each ``H`` wide, in torch's order: reset gate, gate that keeps the state, candidate. The
candidate's products of the inputs and of the state stay apart, since the reset gate scales the latter:

.. math:: h' = z h + (1 - z) \tanh(c_x + r c_h)
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from velora_sb3.cells.kernels.cpu import gated as on_cpu
from velora_sb3.cells.kernels.plain_form import needs_plain_gradients, plain_gradients
from velora_sb3.cells.kernels.sequence import OptionalTensor, states_before


def advance(by_inputs: torch.Tensor, by_state: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
    """The pointwise part of a step, as plain, differentiable operations.

    Args:
        by_inputs: The products of the inputs side by side ``(B, 3H)``.
        by_state: Those of the state ``(B, 3H)``.
        state: The state before the step ``(B, H)``.

    Returns:
        The state after the step ``(B, H)``.
    """
    inputs, hidden = by_inputs.chunk(3, dim=-1), by_state.chunk(3, dim=-1)
    reset, keep = (torch.sigmoid(inputs[gate] + hidden[gate]) for gate in range(2))
    return torch.lerp(torch.tanh(inputs[2] + reset * hidden[2]), state, keep)


def _plain(inputs: torch.Tensor, state: OptionalTensor, *rest: Any) -> torch.Tensor:
    """The whole sequence step by step, in operations that can be differentiated any number of times."""
    weight_ih, weight_hh, bias_ih, bias_hh, starts = rest
    hidden = inputs.new_zeros(inputs.shape[1], weight_hh.shape[-1]) if state is None else state
    states = []
    for t, by_inputs in enumerate(functional.linear(inputs, weight_ih, bias_ih).unbind(0)):
        hidden = hidden if starts is None else torch.where(starts[t], 0, hidden)
        hidden = advance(by_inputs, functional.linear(hidden, weight_hh, bias_hh), hidden)
        states.append(hidden)
    return torch.stack(states)


def _forward(
    inputs: torch.Tensor, state: OptionalTensor, *rest: Any, keep: bool
) -> tuple[torch.Tensor | None, torch.Tensor]:
    """The activations ``(T, B, 4H)``, if they are to be kept, and the states of the C kernel."""
    weight_ih, weight_hh, bias_ih, bias_hh, starts = rest
    gates = 2 * weight_hh.shape[-1]
    bias = torch.cat([bias_ih[:gates] + bias_hh[:gates], bias_hh[gates:], bias_ih[gates:]])
    return on_cpu.forward(inputs, weight_ih, weight_hh, bias, state, starts, None, "gru", keep)


class _GRUSequence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> torch.Tensor:
        keep = any(ctx.needs_input_grad)
        gates, states = _forward(*arguments, keep=keep)
        if keep:
            ctx.save_for_backward(*arguments, gates, states)
        return states

    @staticmethod
    def backward(ctx: Any, grad_states: torch.Tensor) -> tuple[OptionalTensor, ...]:
        *arguments, gates, states = ctx.saved_tensors
        if needs_plain_gradients(grad_states):
            return tuple(plain_gradients(_plain, arguments, grad_states))
        inputs, state, weight_ih, weight_hh, _, _, starts = arguments
        size, needs = states.shape[-1], ctx.needs_input_grad
        before = states_before(states, state, starts)
        grad_gates, grad_state, _ = on_cpu.backward(grad_states, gates, weight_hh, before, starts, None, "gru")
        flat = grad_gates.flatten(0, 1)
        by_state, by_inputs = flat[:, : 3 * size], torch.cat([flat[:, : 2 * size], flat[:, 3 * size :]], dim=1)
        return (
            (by_inputs @ weight_ih).view_as(inputs) if needs[0] else None,
            grad_state if needs[1] else None,
            by_inputs.t() @ inputs.flatten(0, 1),
            by_state.t() @ before.flatten(0, 1),
            by_inputs.sum(0),
            by_state.sum(0),
            None,
        )


def gru_sequence(
    inputs: torch.Tensor,
    state: OptionalTensor,
    weight_ih: torch.Tensor,
    weight_hh: torch.Tensor,
    bias_ih: torch.Tensor,
    bias_hh: torch.Tensor,
    starts: OptionalTensor,
) -> torch.Tensor:
    """All steps of torch's GRU, on a CPU that :func:`velora_sb3.cells.kernels.cpu.supports`.

    Args:
        inputs: ``(T, B, F)``.
        state: State before the first step ``(B, H)``; None is the zero state.
        weight_ih: Weights from the inputs ``(3H, F)``.
        weight_hh: Weights from the state ``(3H, H)``.
        bias_ih: Biases of the inputs' products ``(3H,)``.
        bias_hh: Biases of the state's products ``(3H,)``.
        starts: True where an episode starts ``(T, B, 1)``.

    Returns:
        The state after every step ``(T, B, H)``.
    """
    given = inputs, state, weight_ih, weight_hh, bias_ih, bias_hh, starts
    if not torch.is_grad_enabled():
        return _forward(*given, keep=False)[1]
    states: torch.Tensor = _GRUSequence.apply(*given)  # type: ignore[no-untyped-call]
    return states
