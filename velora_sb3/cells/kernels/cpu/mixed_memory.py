"""The C kernels of mixed memory; the Triton kernels take the same arguments, but for ``keep``."""

from __future__ import annotations

import torch

from velora_sb3.cells.kernels.cpu.calling import call, check_shapes, dense
from velora_sb3.cells.kernels.cpu.gated import MODES


def forward(
    inputs: torch.Tensor,  # (T, B, F)
    lstm_ih: torch.Tensor,  # (4H, F)
    lstm_hh: torch.Tensor,  # (4H, H)
    lstm_bias: torch.Tensor,  # (4H,)
    weight_ih: torch.Tensor,  # (blocks * H, F)
    weight_hh: torch.Tensor,  # (blocks * H, H)
    bias: torch.Tensor,  # (blocks * H,)
    state: torch.Tensor | None,  # (B, 2H)
    starts: torch.Tensor | None,  # (T, B, 1)
    timespans: torch.Tensor | None,  # (T, B, 1)
    mode: str,
    keep: bool = True,
) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor, torch.Tensor]:
    """The activations of LSTM and CfC, if they are to be kept, what the LSTM wrote and the states ``(T, B, 2H)``."""
    steps, batch, features = inputs.shape
    units = weight_hh.shape[-1]
    check_shapes(inputs, weight_ih, state, 2 * units, starts, timespans)
    products = inputs.new_empty(steps, batch, 4 * units) if keep else None
    gates = inputs.new_empty(steps, batch, len(bias)) if keep else None
    written, states = inputs.new_empty(steps, batch, units), inputs.new_empty(steps, batch, 2 * units)
    given = dense(inputs, lstm_ih, lstm_hh, lstm_bias, weight_ih, weight_hh, bias, state, starts, timespans)
    sizes = steps, batch, features, units, len(bias) // units, MODES.index(mode)
    call("mixed_memory_forward", [*given, products, gates, written, states], *sizes)
    return products, gates, written, states


def backward(
    grad_states: torch.Tensor,  # (T, B, 2H)
    products: torch.Tensor,  # (T, B, 4H)
    gates: torch.Tensor,  # (T, B, blocks * H)
    lstm_hh: torch.Tensor,  # (4H, H)
    weight_hh: torch.Tensor,  # (blocks * H, H)
    states: torch.Tensor,  # (T, B, 2H)
    before: torch.Tensor,  # (T, B, 2H)
    starts: torch.Tensor | None,  # (T, B, 1)
    timespans: torch.Tensor | None,  # (T, B, 1)
    mode: str,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """The gradients of both products, the first state and the timespans."""
    steps, batch, width = gates.shape
    units = weight_hh.shape[-1]
    grad_products, grad_gates = torch.empty_like(products), torch.empty_like(gates)
    grad_state = gates.new_empty(batch, 2 * units)
    grad_times = None if timespans is None else timespans.new_empty(timespans.shape)
    given = dense(grad_states, products, gates, lstm_hh, weight_hh, states, before, starts, timespans)
    sizes = steps, batch, units, width // units, MODES.index(mode)
    call("mixed_memory_backward", [*given, grad_products, grad_gates, grad_state, grad_times], *sizes)
    return grad_products, grad_gates, grad_state, grad_times
