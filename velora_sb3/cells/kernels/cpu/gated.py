"""The C kernels of CfC, LRC and GRU; the Triton kernels of CfC and LRC take the same arguments, but for ``keep``."""

from __future__ import annotations

import torch

from velora_sb3.cells.kernels.cpu.calling import call, check_shapes, dense

MODES = ("default", "no_gate", "lrc", "gru")  # the numbers that they have in C


def forward(
    inputs: torch.Tensor,  # (T, B, F)
    weight_ih: torch.Tensor,  # (blocks * H, F)
    weight_hh: torch.Tensor,  # (blocks * H, H)
    bias: torch.Tensor,  # (blocks * H,)
    state: torch.Tensor | None,  # (B, H)
    starts: torch.Tensor | None,  # (T, B, 1)
    timespans: torch.Tensor | None,  # (T, B, 1)
    mode: str,
    keep: bool = True,
) -> tuple[torch.Tensor | None, torch.Tensor]:
    """The activations ``(T, B, blocks * H)``, if they are to be kept, and the states after every step ``(T, B, H)``."""
    steps, batch, features = inputs.shape
    units = weight_hh.shape[-1]
    check_shapes(inputs, weight_ih, state, units, starts, timespans)
    gates = inputs.new_empty(steps, batch, len(bias)) if keep else None
    states = inputs.new_empty(steps, batch, units)
    given = dense(inputs, weight_ih, weight_hh, bias, state, starts, timespans)
    sizes = steps, batch, features, units, len(bias) // units, MODES.index(mode)
    call("gated_forward", [*given, gates, states], *sizes)
    return gates, states


def backward(
    grad_states: torch.Tensor,  # (T, B, H)
    gates: torch.Tensor,  # (T, B, blocks * H)
    weight_hh: torch.Tensor,  # (blocks * H, H)
    before: torch.Tensor,  # (T, B, H)
    starts: torch.Tensor | None,  # (T, B, 1)
    timespans: torch.Tensor | None,  # (T, B, 1)
    mode: str,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """The gradients of the products ``(T, B, blocks * H)``, the first state and the timespans."""
    steps, batch, units = grad_states.shape
    grad_gates, grad_state = torch.empty_like(gates), gates.new_empty(batch, units)
    grad_times = None if timespans is None else timespans.new_empty(timespans.shape)
    given = dense(grad_states, gates, weight_hh, before, starts, timespans)
    sizes = steps, batch, units, gates.shape[-1] // units, MODES.index(mode)
    call("gated_backward", [*given, grad_gates, grad_state, grad_times], *sizes)
    return grad_gates, grad_state, grad_times
