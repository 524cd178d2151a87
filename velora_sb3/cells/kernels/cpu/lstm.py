"""The C kernels of torch's LSTM."""

from __future__ import annotations

import torch

from velora_sb3.cells.kernels.cpu.calling import call, check_shapes, dense


def forward(
    inputs: torch.Tensor,  # (T, B, F)
    weight_ih: torch.Tensor,  # (4H, F)
    weight_hh: torch.Tensor,  # (4H, H)
    bias: torch.Tensor,  # (4H,)
    state: torch.Tensor | None,  # (B, 2H)
    starts: torch.Tensor | None,  # (T, B, 1)
    keep: bool = True,
) -> tuple[torch.Tensor | None, torch.Tensor, torch.Tensor]:
    """The activations ``(T, B, 4H)``, if they are to be kept, the outputs and the memories ``(T, B, H)``."""
    steps, batch, features = inputs.shape
    units = weight_hh.shape[-1]
    check_shapes(inputs, weight_ih, state, 2 * units, starts)
    gates = inputs.new_empty(steps, batch, 4 * units) if keep else None
    hidden, memories = (inputs.new_empty(steps, batch, units) for _ in range(2))
    given = dense(inputs, weight_ih, weight_hh, bias, state, starts)
    call("lstm_forward", [*given, gates, hidden, memories], steps, batch, features, units)
    return gates, hidden, memories


def backward(
    grad_hidden: torch.Tensor | None,  # (T, B, H)
    grad_memories: torch.Tensor | None,  # (T, B, H)
    gates: torch.Tensor,  # (T, B, 4H)
    weight_hh: torch.Tensor,  # (4H, H)
    memories: torch.Tensor,  # (T, B, H)
    before: torch.Tensor,  # (T, B, H)
    starts: torch.Tensor | None,  # (T, B, 1)
) -> tuple[torch.Tensor, torch.Tensor]:
    """The gradients of the products ``(T, B, 4H)`` and of the first state ``(B, 2H)``."""
    steps, batch, units = memories.shape
    grad_gates, grad_state = torch.empty_like(gates), gates.new_empty(batch, 2 * units)
    given = dense(grad_hidden, grad_memories, gates, weight_hh, memories, before, starts)
    call("lstm_backward", [*given, grad_gates, grad_state], steps, batch, units)
    return grad_gates, grad_state
