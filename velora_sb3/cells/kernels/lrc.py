r"""A whole LRC sequence in one autograd function, and the pointwise part of its step.

From the products :math:`f, k, u` (each ``H`` wide) and the time :math:`t` since the last step:

.. math::
    r = 2 \, \sigma(f) \, \sigma(k), \qquad v' = e^{-r t} v + (1 - e^{-r t}) \tanh u

Forward: the inputs' part of every product is one matrix product before the loop; a step is one ``addmm``, one
``sigmoid`` over all three blocks (:math:`\tanh u = 2 \sigma(2 u) - 1`, so the loop carries :math:`(v + 1) / 2`), the
decay and one ``lerp``. Backward: the derivatives of all steps at once, then one product and one ``addmm`` per step;
the weights' gradients are one matrix product each at the end. :mod:`velora_sb3.cells.kernels.cpu` and, on an NVIDIA
GPU, :mod:`velora_sb3.cells.kernels.gpu` replace both loops.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from velora_sb3.cells.kernels import cpu
from velora_sb3.cells.kernels.cpu import gated as on_cpu
from velora_sb3.cells.kernels.plain_form import needs_plain_form, needs_plain_gradients, plain_gradients
from velora_sb3.cells.kernels.sequence import OptionalTensor, compiled, reset_masks, states_before, weight_gradients


def next_potential(
    products: torch.Tensor,  # (B, 3H)
    state: OptionalTensor,  # (B, H), None for the zero state
    timespans: OptionalTensor,  # (B, 1)
) -> torch.Tensor:
    """The pointwise part of a step as plain, differentiable operations: the next state ``(B, H)``."""
    split = products.shape[-1] // 3 * 2
    gates, drive = products[..., :split], products[..., split:]  # torch's ONNX exporter fails on tensor_split
    leak, elastance = gates.sigmoid().chunk(2, dim=-1)
    exponent = -2 * leak * elastance
    decay = torch.exp(exponent if timespans is None else exponent * timespans)
    target = torch.tanh(drive)
    return target - decay * target if state is None else torch.lerp(target, state, decay)


def _plain(inputs: torch.Tensor, state: OptionalTensor, *rest: Any) -> torch.Tensor:
    """The whole sequence step by step, in operations that can be differentiated any number of times."""
    weight_ih, weight_hh, bias, starts, timespans = rest
    states: list[torch.Tensor] = []
    for t, products in enumerate(functional.linear(inputs, weight_ih, bias).unbind(0)):
        if state is not None:
            state = state if starts is None else torch.where(starts[t], 0, state)
            products = products + state @ weight_hh.t()
        state = next_potential(products, state, None if timespans is None else timespans[t])
        states.append(state)
    return torch.stack(states)


def _loop(
    gates: torch.Tensor,  # (T, B, 3H): the inputs' products, overwritten with the sigmoids of f, k and 2u
    weight_hh: torch.Tensor,
    state: OptionalTensor,
    resets: list[OptionalTensor],
    timespans: OptionalTensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The decays and the states of every step ``(T, B, H)``."""
    steps, batch, _ = gates.shape
    size = weight_hh.shape[-1]
    recurrent = weight_hh.clone()
    recurrent[2 * size :] *= 2  # tanh u = 2 sigmoid(2 u) - 1
    gates[..., 2 * size :] *= 2
    gates -= recurrent.sum(dim=1)  # v = 2 w - 1, and the loop carries w
    weights = (2 * recurrent).t()

    decays, carried = (gates.new_empty(steps, batch, size) for _ in range(2))
    leak, elastance, target = (block.unbind(0) for block in gates.split(size, dim=-1))
    products, decay, out = gates.unbind(0), decays.unbind(0), carried.unbind(0)
    scale = None if timespans is None else (-2 * timespans).unbind(0)
    hidden = gates.new_full((batch, size), 0.5) if state is None else (state + 1) / 2
    rest = gates.new_tensor(0.5)
    for t, reset in enumerate(resets):
        if reset is not None:
            hidden = torch.where(reset, rest, hidden)
        products[t].addmm_(hidden, weights).sigmoid_()
        torch.mul(leak[t], elastance[t], out=decay[t])
        decay[t].mul_(-2 if scale is None else scale[t]).exp_()
        torch.lerp(target[t], hidden, decay[t], out=out[t])
        hidden = out[t]
    return decays, carried.mul_(2).sub_(1)


def _loop_backward(
    grad_states: torch.Tensor,
    gates: torch.Tensor,
    decays: torch.Tensor,
    weight_hh: torch.Tensor,
    before: torch.Tensor,
    resets: list[OptionalTensor],
    timespans: OptionalTensor,
) -> tuple[torch.Tensor, torch.Tensor, OptionalTensor]:
    """The gradients of the products ``(T, B, 3H)``, the first state and the timespans."""
    steps, batch, size = before.shape
    leak, elastance, target = gates.split(size, dim=-1)
    rate = leak * elastance * 2
    target = target * 2 - 1  # tanh u
    by_exponent = (target - before).mul_(decays).mul_(rate)  # d state / d time
    derivatives = torch.empty_like(gates)
    by_rate = by_exponent if timespans is None else by_exponent * timespans
    torch.mul(by_rate, 1 - leak, out=derivatives[..., :size])
    torch.mul(by_rate, 1 - elastance, out=derivatives[..., size : 2 * size])
    torch.mul(1 - decays, 1 - target * target, out=derivatives[..., 2 * size :])
    grad_gates = derivatives.view(steps, batch, 3, size)  # in place: each step's derivatives are used once
    grad_hidden = torch.empty_like(decays)  # of each step's state, later steps included
    grad_hidden[-1] = grad_states[-1]

    incoming, hidden, blocks = grad_states.unbind(0), grad_hidden.unbind(0), grad_gates.unbind(0)
    columns, decay = grad_hidden.unsqueeze(2).unbind(0), decays.unbind(0)
    rows = derivatives.unbind(0)
    for t in range(steps - 1, 0, -1):
        blocks[t].mul_(columns[t])
        reset = resets[t]
        if reset is None:
            torch.addcmul(incoming[t - 1], hidden[t], decay[t], out=hidden[t - 1]).addmm_(rows[t], weight_hh)
        else:
            earlier = torch.addmm(hidden[t] * decay[t], rows[t], weight_hh)
            torch.add(incoming[t - 1], torch.where(reset, 0, earlier), out=hidden[t - 1])
    blocks[0].mul_(columns[0])
    grad_state = torch.addmm(hidden[0] * decay[0], rows[0], weight_hh)
    grad_state = grad_state if resets[0] is None else torch.where(resets[0], 0, grad_state)
    grad_times = None if timespans is None else grad_hidden.mul_(by_exponent).sum(-1, keepdim=True)
    return derivatives, grad_state, grad_times


class _LRCSequence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        inputs: torch.Tensor,  # (T, B, F)
        state: OptionalTensor,  # (B, H), None for the zero state
        weight_ih: torch.Tensor,  # (3H, F)
        weight_hh: torch.Tensor,  # (3H, H)
        bias: torch.Tensor,  # (3H,)
        starts: OptionalTensor,  # (T, B, 1), bool
        timespans: OptionalTensor,  # (T, B, 1)
    ) -> torch.Tensor:
        decays = None
        ctx.compiled = compiled("gated", inputs, weight_hh.shape[-1], len(bias))
        states: torch.Tensor
        if ctx.compiled is not None:
            given = (inputs, weight_ih, weight_hh, bias, state, starts, timespans)
            gates, states = ctx.compiled.forward(*given, "lrc")
        else:
            ctx.resets = reset_masks(starts, len(inputs))
            gates = functional.linear(inputs, weight_ih, bias)
            decays, states = _loop(gates, weight_hh, state, ctx.resets, timespans)
        ctx.save_for_backward(inputs, state, weight_ih, weight_hh, bias, starts, timespans, gates, decays, states)
        return states

    @staticmethod
    def backward(ctx: Any, grad_states: torch.Tensor) -> tuple[OptionalTensor, ...]:
        *arguments, gates, decays, states = ctx.saved_tensors
        if needs_plain_gradients(grad_states):
            return tuple(plain_gradients(_plain, arguments, grad_states))
        inputs, state, weight_ih, weight_hh, _, starts, timespans = arguments
        needs = ctx.needs_input_grad
        before = states_before(states, state, starts)
        if ctx.compiled is not None:
            grad_gates, grad_state, grad_times = ctx.compiled.backward(
                grad_states, gates, weight_hh, before, starts, timespans, "lrc"
            )
        else:
            grad_gates, grad_state, grad_times = _loop_backward(
                grad_states, gates, decays, weight_hh, before, ctx.resets, timespans
            )
        return (
            *(grad_gates @ weight_ih if needs[0] else None, grad_state if needs[1] else None),
            *weight_gradients(grad_gates, inputs, before),
            *(None, grad_times if needs[6] else None),
        )


def lrc_sequence(
    inputs: torch.Tensor,
    state: OptionalTensor,
    weight_ih: torch.Tensor,
    weight_hh: torch.Tensor,
    bias: torch.Tensor,
    starts: OptionalTensor,
    timespans: OptionalTensor,
) -> torch.Tensor:
    """All steps of an LRC in closed form.

    Args:
        inputs: ``(T, B, F)``.
        state: State before the first step ``(B, H)``; None is the zero state.
        weight_ih: Weights from the inputs to f, k and u ``(3H, F)``.
        weight_hh: Weights from the state to f, k and u ``(3H, H)``.
        bias: Their biases ``(3H,)``.
        starts: True where an episode starts ``(T, B, 1)``.
        timespans: ``(T, B, 1)``; None is 1.

    Returns:
        The state after every step ``(T, B, H)``.
    """
    if needs_plain_form():
        return _plain(inputs, state, weight_ih, weight_hh, bias, starts, timespans)
    if not torch.is_grad_enabled() and cpu.supports(inputs, weight_hh.shape[-1]):
        return on_cpu.forward(inputs, weight_ih, weight_hh, bias, state, starts, timespans, "lrc", keep=False)[1]
    states: torch.Tensor = _LRCSequence.apply(  # type: ignore[no-untyped-call]
        inputs, state, weight_ih, weight_hh, bias, starts, timespans
    )
    return states
