"""The C kernels of CfC and LRC; the arguments are those of the Triton kernels."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence

import torch

from velora_sb3.cells.kernels import cpu

MODES = ("default", "no_gate", "lrc")  # the numbers that they have in C


@functools.cache
def _function(name: str, pointers: int, integers: int) -> Callable[..., int]:
    """A function that returns whether memory ran out."""
    function = getattr(cpu.library(), name)
    function.argtypes = [ctypes.c_void_p] * pointers + [ctypes.c_int] * integers
    return function  # type: ignore[no-any-return]


def call(name: str, tensors: Sequence[torch.Tensor | None], *integers: int) -> None:
    """Call a kernel with contiguous tensors, which are NULL in C where they are None."""
    pointers = [None if tensor is None else tensor.data_ptr() for tensor in tensors]
    if _function(name, len(pointers), len(integers))(*pointers, *integers):
        raise MemoryError(f"no memory for the weights in {name}")


def dense(*tensors: torch.Tensor | None) -> list[torch.Tensor | None]:
    """The tensors as kernels read them."""
    return [None if tensor is None else tensor.contiguous() for tensor in tensors]


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
    before: torch.Tensor,  # (T, B, H), rows of a contiguous tensor
    starts: torch.Tensor | None,  # (T, B, 1)
    timespans: torch.Tensor | None,  # (T, B, 1)
    mode: str,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """The gradients of the products ``(T, B, blocks * H)``, the first state and the timespans."""
    steps, batch, units = grad_states.shape
    grad_gates, grad_state = torch.empty_like(gates), gates.new_empty(batch, units)
    grad_times = None if timespans is None else timespans.new_empty(timespans.shape)
    grad, hidden, *marks = dense(grad_states, weight_hh, starts, timespans)
    tensors = [grad, gates, hidden, before, *marks, grad_gates, grad_state, grad_times]
    sizes = steps, batch, units, gates.shape[-1] // units, MODES.index(mode), before.stride(1)
    call("gated_backward", tensors, *sizes)
    return grad_gates, grad_state, grad_times
