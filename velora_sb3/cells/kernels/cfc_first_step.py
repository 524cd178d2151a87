r"""One step of a CfC from the zero state: no recurrent product, and no more passes over memory than needed.

What a reactive policy computes for every observation, so it is as lean as a dense layer allows. As in
:mod:`velora_sb3.cells.kernels.cfc`, :math:`\tanh x` is computed as :math:`2 \sigma(2 x) - 1`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from velora_sb3.cells.kernels.cfc_gates import next_state
from velora_sb3.cells.kernels.plain_form import needs_plain_form, needs_plain_gradients, plain_gradients

_MINUS_ONE = torch.tensor(-1.0)


def _forward(inputs: torch.Tensor, weight_ih: torch.Tensor, bias: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The sigmoids ``p, q, w`` of f, g and s side by side ``(B, 3H)``, and the next state ``(B, H)``."""
    gates = torch.addmm(bias, inputs, weight_ih.t())
    gates[:, : gates.shape[-1] // 3 * 2].mul_(2)
    first, second, weight = gates.sigmoid_().chunk(3, dim=-1)
    return gates, torch.add(_MINUS_ONE, torch.lerp(first, second, weight), alpha=2)


def _plain(inputs: torch.Tensor, weight_ih: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return next_state(functional.linear(inputs, weight_ih, bias), None, "default", None, None)


class _FirstStep(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: torch.Tensor, weight_ih: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        gates, state = _forward(inputs, weight_ih, bias)
        ctx.save_for_backward(inputs, weight_ih, bias, gates)
        return state

    @staticmethod
    def backward(ctx: Any, grad_state: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        inputs, weight_ih, bias, gates = ctx.saved_tensors
        if needs_plain_gradients(grad_state):
            return tuple(plain_gradients(_plain, (inputs, weight_ih, bias), grad_state))
        first, second, weight = gates.chunk(3, dim=-1)
        grad = torch.addcmul(gates, gates, gates, value=-1)  # p (1 - p), q (1 - q), w (1 - w)
        by_first, by_second, by_weight = grad.chunk(3, dim=-1)
        through = 4 * grad_state
        share = through * weight
        by_second.mul_(share)
        by_first.mul_(through.sub_(share))
        by_weight.mul_(torch.sub(second, first).mul_(grad_state)).mul_(2)
        return (
            grad @ weight_ih if ctx.needs_input_grad[0] else None,
            grad.t() @ inputs if ctx.needs_input_grad[1] else None,
            grad.sum(0) if ctx.needs_input_grad[2] else None,
        )


def cfc_first_step(inputs: torch.Tensor, weight_ih: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """The step in ``default`` mode, after one time unit.

    Args:
        inputs: ``(B, F)``.
        weight_ih: Weights of f, g and s ``(3H, F)``.
        bias: Their biases ``(3H,)``.

    Returns:
        The next state ``(B, H)``.
    """
    if needs_plain_form():
        return _plain(inputs, weight_ih, bias)
    if not torch.is_grad_enabled():  # acting: an autograd function costs more than the step itself
        return _forward(inputs, weight_ih, bias)[1]
    state: torch.Tensor = _FirstStep.apply(inputs, weight_ih, bias)  # type: ignore[no-untyped-call]
    return state
