r"""A whole CfC sequence in one autograd function.

Forward: the inputs' part of every gate is one matrix product before the loop; a step is one ``addmm`` and two or three
pointwise operations. Backward: the derivatives of all steps at once, then one product and one ``addmm`` per step, and
the weights' gradients as one matrix product each at the end. Resets and timespans enter as tensors.
:mod:`velora_sb3.cells.kernels.cpu` and, on an NVIDIA GPU, :mod:`velora_sb3.cells.kernels.gpu` replace both loops.

On CPU torch's ``tanh`` takes several times as long as its ``sigmoid``, so :math:`\tanh x` is computed as
:math:`2 \sigma(2 x) - 1`, which differs by float rounding. In ``default`` mode the loop carries
:math:`u = (h + 1) / 2`, for which one ``sigmoid`` over all gates and one ``lerp`` make a step.

Blocks of gates, each ``H`` wide: ``f, g, s`` without timespans, ``f, g, s, a`` with them, ``f`` in ``pure`` mode.
See :mod:`velora_sb3.cells.kernels.cfc_gates` for the equations.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.nn import functional

from velora_sb3.cells.kernels import cpu
from velora_sb3.cells.kernels.cfc_gates import next_state
from velora_sb3.cells.kernels.cpu import gated as on_cpu
from velora_sb3.cells.kernels.plain_form import needs_plain_form, needs_plain_gradients, plain_gradients
from velora_sb3.cells.kernels.sequence import OptionalTensor, compiled, reset_masks, states_before, weight_gradients


def blend(gates: torch.Tensor, carried: torch.Tensor, timespans: OptionalTensor) -> Callable[[int], None]:
    """``default`` mode, step t: sigmoids of all gates, then ``carried[t] = lerp(p, q, w)``."""
    size = carried.shape[-1]
    active, out = gates[..., : 3 * size].unbind(0), carried.unbind(0)
    first, second, weight = (block.unbind(0) for block in gates[..., : 3 * size].split(size, dim=-1))
    drift = _drift(gates, timespans, size)

    def step(t: int) -> None:
        drift(t)
        active[t].sigmoid_()
        torch.lerp(first[t], second[t], weight[t], out=out[t])

    return step


def add(gates: torch.Tensor, carried: torch.Tensor, timespans: OptionalTensor) -> Callable[[int], None]:
    """``no_gate`` mode, step t: the heads' tanh, then ``carried[t] = tanh f + w tanh g``."""
    size = carried.shape[-1]
    active, out = gates[..., : 3 * size].unbind(0), carried.unbind(0)
    heads = gates[..., : 2 * size].unbind(0)
    first, second, weight = (block.unbind(0) for block in gates[..., : 3 * size].split(size, dim=-1))
    drift = _drift(gates, timespans, size)

    def step(t: int) -> None:
        drift(t)
        active[t].sigmoid_()
        heads[t].mul_(2).sub_(1)
        torch.addcmul(first[t], weight[t], second[t], out=out[t])

    return step


def _drift(gates: torch.Tensor, timespans: OptionalTensor, size: int) -> Callable[[int], object]:
    """Moves the gate of step t by what the time since the last step differs from 1."""
    if timespans is None:
        return lambda t: None
    weight, slope = gates[..., 2 * size : 3 * size].unbind(0), gates[..., 3 * size :].unbind(0)
    excess = (timespans - 1).unbind(0)
    return lambda t: weight[t].addcmul_(slope[t], excess[t])


def _solve(
    gates: torch.Tensor, carried: torch.Tensor, timespans: OptionalTensor, w_tau: torch.Tensor, amplitude: torch.Tensor
) -> Callable[[int], None]:
    """``pure`` mode, step t: ``carried[t] = A - A exp(-t (|w_tau| + |f|)) f``."""
    products, out, floor = gates.unbind(0), carried.unbind(0), w_tau.abs()
    times = None if timespans is None else timespans.unbind(0)

    def step(t: int) -> None:
        decay = products[t].abs().add_(floor).neg_()
        if times is not None:
            decay.mul_(times[t])
        torch.addcmul(amplitude, decay.exp_().mul_(products[t]), amplitude, value=-1, out=out[t])

    return step


def gate_derivatives(
    mode: str, gates: torch.Tensor, timespans: OptionalTensor, w_tau: Any, amplitude: Any
) -> torch.Tensor:
    """Derivatives of the next states by the gates, every step at once: (T, B, blocks, H)."""
    if mode == "pure":
        time = 1.0 if timespans is None else timespans
        extent = gates.abs()
        decay = torch.exp(-(extent + w_tau.abs()) * time)
        by_product: torch.Tensor = decay * (extent * time - 1) * amplitude
        return by_product.unsqueeze(2)
    blocks = gates.unflatten(-1, (3 if timespans is None else 4, -1))
    first, second, weight = blocks[:, :, 0], blocks[:, :, 1], blocks[:, :, 2]
    result = torch.empty_like(blocks)
    if mode == "no_gate":  # the heads hold tanh f and tanh g
        torch.mul(blocks[:, :, :2], blocks[:, :, :2], out=result[:, :, :2]).neg_().add_(1)
        result[:, :, 1] *= weight
        torch.addcmul(weight, weight, weight, value=-1, out=result[:, :, 2])
        result[:, :, 2] *= second
    else:  # the heads hold sigmoids p and q: 1 - tanh^2 f = 4 p (1 - p)
        active = blocks[:, :, :3]
        torch.addcmul(active, active, active, value=-1, out=result[:, :, :3])
        quadruple = 4 * weight
        result[:, :, 1] *= quadruple
        result[:, :, 0] *= quadruple.neg_().add_(4)
        result[:, :, 2] *= torch.sub(second, first).mul_(2)
    if timespans is not None:
        torch.mul(result[:, :, 2], timespans - 1, out=result[:, :, 3])
    return result


def _plain(mode: str, inputs: torch.Tensor, state: OptionalTensor, *rest: Any) -> torch.Tensor:
    """The whole sequence step by step, in operations that can be differentiated any number of times."""
    weight_ih, weight_hh, bias, starts, timespans, w_tau, amplitude = rest
    hidden = inputs.new_zeros(inputs.shape[1], weight_hh.shape[-1]) if state is None else state
    outputs = []
    for t, products in enumerate(functional.linear(inputs, weight_ih, bias).unbind(0)):
        hidden = hidden if starts is None else torch.where(starts[t], 0, hidden)
        time = None if timespans is None else timespans[t]
        hidden = next_state(products + hidden @ weight_hh.t(), time, mode, w_tau, amplitude)
        outputs.append(hidden)
    return torch.stack(outputs)


def _loop(
    gates: torch.Tensor,  # (T, B, blocks*H): the inputs' products, overwritten with the activations
    weight_hh: torch.Tensor,
    state: OptionalTensor,
    resets: list[OptionalTensor],
    timespans: OptionalTensor,
    w_tau: OptionalTensor,
    amplitude: OptionalTensor,
    mode: str,
) -> torch.Tensor:
    """The states after every step ``(T, B, H)``."""
    steps, batch, _ = gates.shape
    size = weight_hh.shape[-1]
    carried = gates.new_empty(steps, batch, size)
    recurrent, rest = weight_hh, 0.0  # rest: what the zero state is in the loop's terms
    if mode == "pure":
        assert w_tau is not None and amplitude is not None
        step = _solve(gates, carried, timespans, w_tau, amplitude)
    else:
        recurrent = weight_hh.clone()
        recurrent[: 2 * size] *= 2  # tanh x = 2 sigmoid(2 x) - 1
        gates[..., : 2 * size] *= 2
        step = (blend if mode == "default" else add)(gates, carried, timespans)
    if mode == "default":  # h = 2 u - 1
        gates -= recurrent.sum(dim=1)
        recurrent, rest = 2 * recurrent, 0.5
        state = None if state is None else (state + 1) / 2

    products, out, weights = gates.unbind(0), carried.unbind(0), recurrent.t()
    hidden = gates.new_full((batch, size), rest) if state is None else state
    fresh = gates.new_tensor(rest)
    for t, reset in enumerate(resets):
        if reset is not None:
            hidden = torch.where(reset, fresh, hidden)
        products[t].addmm_(hidden, weights)
        step(t)
        hidden = out[t]
    return carried.mul_(2).sub_(1) if mode == "default" else carried


def _loop_backward(
    grad_outputs: torch.Tensor,  # (T, B, H)
    grad_gates: torch.Tensor,  # (T, B, blocks, H): the derivatives, overwritten with the gradients
    weight_hh: torch.Tensor,
    resets: list[OptionalTensor],
) -> torch.Tensor:
    """The gradients of the states after every step, later steps included ``(T, B, H)``."""
    grad_hidden = torch.empty_like(grad_outputs, memory_format=torch.contiguous_format)
    grad_hidden[-1] = grad_outputs[-1]
    incoming, hidden, blocks = grad_outputs.unbind(0), grad_hidden.unbind(0), grad_gates.unbind(0)
    columns = grad_hidden.unsqueeze(2).unbind(0)
    rows = grad_gates.flatten(2).unbind(0)
    through = torch.empty_like(hidden[0])
    for t in range(len(resets) - 1, 0, -1):
        blocks[t].mul_(columns[t])
        reset = resets[t]
        if reset is None:
            torch.addmm(incoming[t - 1], rows[t], weight_hh, out=hidden[t - 1])
        else:
            earlier = torch.where(reset, 0, torch.mm(rows[t], weight_hh, out=through))
            torch.add(incoming[t - 1], earlier, out=hidden[t - 1])
    blocks[0].mul_(columns[0])
    return grad_hidden


class _CfCSequence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        inputs: torch.Tensor,  # (T, B, F)
        state: OptionalTensor,  # (B, H), None for the zero state
        weight_ih: torch.Tensor,  # (blocks*H, F)
        weight_hh: torch.Tensor,  # (blocks*H, H)
        bias: torch.Tensor,  # (blocks*H,)
        starts: OptionalTensor,  # (T, B, 1), bool
        timespans: OptionalTensor,  # (T, B, 1)
        w_tau: OptionalTensor,  # (H,), pure mode
        amplitude: OptionalTensor,  # (H,), pure mode
        mode: str,
    ) -> torch.Tensor:
        ctx.mode = mode
        ctx.compiled = None if mode == "pure" else compiled("gated", inputs, weight_hh.shape[-1], len(bias))
        outputs: torch.Tensor
        if ctx.compiled is not None:
            given = (inputs, weight_ih, weight_hh, bias, state, starts, timespans)
            gates, outputs = ctx.compiled.forward(*given, mode)
        else:
            ctx.resets = reset_masks(starts, len(inputs))
            gates = functional.linear(inputs, weight_ih, bias)
            outputs = _loop(gates, weight_hh, state, ctx.resets, timespans, w_tau, amplitude, mode)
        ctx.save_for_backward(
            inputs, state, weight_ih, weight_hh, bias, starts, timespans, w_tau, amplitude, gates, outputs
        )
        return outputs

    @staticmethod
    def backward(ctx: Any, grad_outputs: torch.Tensor) -> tuple[OptionalTensor, ...]:
        *arguments, gates, outputs = ctx.saved_tensors
        if needs_plain_gradients(grad_outputs):
            return (*plain_gradients(partial(_plain, ctx.mode), arguments, grad_outputs), None)
        inputs, state, weight_ih, weight_hh, _, starts, timespans, w_tau, amplitude = arguments
        size = outputs.shape[-1]
        needs = ctx.needs_input_grad
        grad_state = grad_times = grad_tau = grad_amplitude = None
        if ctx.compiled is not None:
            grad_gates, grad_state, grad_times = ctx.compiled.backward(
                grad_outputs, gates, weight_hh, outputs, starts, timespans, ctx.mode
            )
        else:
            derivatives = gate_derivatives(ctx.mode, gates, timespans, w_tau, amplitude)
            grad_hidden = _loop_backward(grad_outputs, derivatives, weight_hh, ctx.resets)
            grad_gates = derivatives.flatten(2)
            if needs[1]:
                grad_state = grad_gates[0] @ weight_hh
                grad_state = grad_state if ctx.resets[0] is None else torch.where(ctx.resets[0], 0, grad_state)
            if ctx.mode == "pure":
                rate = gates.abs() + w_tau.abs()
                decayed = torch.exp(-rate if timespans is None else -rate * timespans) * gates
                falling = grad_hidden * amplitude * decayed  # minus d output / d exponent
                grad_amplitude = (grad_hidden * (1 - decayed)).sum((0, 1))
                grad_tau = (falling if timespans is None else falling * timespans).sum((0, 1)) * w_tau.sign()
                grad_times = (falling * rate).sum(-1, keepdim=True) if needs[6] else None
            elif needs[6]:
                grad_times = (derivatives[:, :, 2] * gates[..., 3 * size :]).sum(-1, keepdim=True)

        return (
            *(grad_gates @ weight_ih if needs[0] else None, grad_state if needs[1] else None),
            *weight_gradients(grad_gates, inputs, states_before(outputs, state, starts)),
            *(None, grad_times if needs[6] else None, grad_tau, grad_amplitude, None),
        )


def cfc_sequence(
    inputs: torch.Tensor,
    state: OptionalTensor,
    weight_ih: torch.Tensor,
    weight_hh: torch.Tensor,
    bias: torch.Tensor,
    starts: OptionalTensor,
    timespans: OptionalTensor,
    mode: str,
    w_tau: OptionalTensor = None,
    amplitude: OptionalTensor = None,
) -> torch.Tensor:
    """All steps of a CfC without backbone.

    Args:
        inputs: ``(T, B, F)``.
        state: State before the first step ``(B, H)``; None is the zero state.
        weight_ih: Weights from the inputs to every gate ``(blocks * H, F)``.
        weight_hh: Weights from the state to every gate ``(blocks * H, H)``.
        bias: Bias of every gate ``(blocks * H,)``.
        starts: True where an episode starts ``(T, B, 1)``.
        timespans: ``(T, B, 1)``; None is 1.
        mode: ``default``, ``no_gate`` or ``pure``.
        w_tau: ``(H,)``, in ``pure`` mode.
        amplitude: ``(H,)``, in ``pure`` mode.

    Returns:
        The state after every step ``(T, B, H)``.
    """
    if needs_plain_form():
        return _plain(mode, inputs, state, weight_ih, weight_hh, bias, starts, timespans, w_tau, amplitude)
    if not torch.is_grad_enabled() and mode != "pure" and cpu.supports(inputs, weight_hh.shape[-1]):
        return on_cpu.forward(inputs, weight_ih, weight_hh, bias, state, starts, timespans, mode, keep=False)[1]
    outputs: torch.Tensor = _CfCSequence.apply(  # type: ignore[no-untyped-call]
        inputs, state, weight_ih, weight_hh, bias, starts, timespans, w_tau, amplitude, mode
    )
    return outputs
