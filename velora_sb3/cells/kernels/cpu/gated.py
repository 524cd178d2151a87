"""The C kernels of CfC and LRC, with the arguments of the Triton kernels in :mod:`velora_sb3.cells.kernels.gpu`."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

import torch

from velora_sb3.cells.kernels import cpu

MODES = ("default", "no_gate", "lrc")  # the numbers that they have in C


@functools.cache
def _function(name: str, pointers: int) -> Callable[..., int]:
    """A function that takes pointers, then five integers, and returns whether memory ran out."""
    function = getattr(cpu.library(), name)
    function.argtypes = [ctypes.c_void_p] * pointers + [ctypes.c_int] * 5
    return function  # type: ignore[no-any-return]


def _call(name: str, tensors: list[torch.Tensor | None], *sizes: int) -> None:
    dense = [None if tensor is None else tensor.contiguous() for tensor in tensors]
    pointers = [None if tensor is None else tensor.data_ptr() for tensor in dense]
    if _function(name, len(pointers))(*pointers, *sizes):
        raise MemoryError(f"no memory for the weights in {name}")


def forward(
    gates: torch.Tensor,  # (T, B, blocks * H), contiguous
    weights: torch.Tensor,  # (blocks * H, H)
    state: torch.Tensor | None,  # (B, H)
    starts: torch.Tensor | None,  # (T, B, 1)
    timespans: torch.Tensor | None,  # (T, B, 1)
    mode: str,
) -> torch.Tensor:
    """The states after every step ``(T, B, H)``; ``gates`` turn from the inputs' products into the activations."""
    steps, batch, width = gates.shape
    units = weights.shape[-1]
    states = gates.new_empty(steps, batch, units)
    tensors = [gates, weights, state, starts, timespans, states]
    _call("gated_forward", tensors, steps, batch, units, width // units, MODES.index(mode))
    return states


def backward(
    grad_states: torch.Tensor,  # (T, B, H)
    gates: torch.Tensor,  # (T, B, blocks * H)
    weights: torch.Tensor,  # (blocks * H, H)
    before: torch.Tensor,  # (T, B, H)
    starts: torch.Tensor | None,  # (T, B, 1)
    timespans: torch.Tensor | None,  # (T, B, 1)
    mode: str,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """The gradients of the products ``(T, B, blocks * H)``, the first state and the timespans."""
    steps, batch, units = before.shape
    grad_gates, grad_state = torch.empty_like(gates), before.new_empty(batch, units)
    grad_times = None if timespans is None else timespans.new_empty(timespans.shape)
    tensors = [grad_states, gates, weights, before, starts, timespans, grad_gates, grad_state, grad_times]
    _call("gated_backward", tensors, steps, batch, units, gates.shape[-1] // units, MODES.index(mode))
    return grad_gates, grad_state, grad_times
