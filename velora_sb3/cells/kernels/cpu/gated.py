"""The C kernels of CfC, LRC and GRU; the arguments are those of the Triton kernels."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence

import torch

from velora_sb3.cells.kernels import cpu

MODES = ("default", "no_gate", "lrc", "gru")  # the numbers that they have in C
DTYPES = (torch.float32, torch.bool, torch.int32, torch.int64)


@functools.cache
def _function(name: str, pointers: int, integers: int) -> Callable[..., int]:
    """A function that returns whether memory ran out."""
    function = getattr(cpu.library(), name)
    function.argtypes = [ctypes.c_void_p] * pointers + [ctypes.c_int] * integers
    return function  # type: ignore[no-any-return]


def call(name: str, tensors: Sequence[torch.Tensor | None], *integers: int) -> None:
    """Call a kernel with contiguous tensors, which are NULL in C where they are None."""
    for tensor in tensors:
        if tensor is not None and not (tensor.is_cpu and tensor.dtype in DTYPES):
            raise TypeError(
                f"expected float32 tensors on the CPU, got {tensor.dtype} on {tensor.device}: move the "
                "cell, its inputs and its state to one device and type"
            )
    pointers = [None if tensor is None else tensor.data_ptr() for tensor in tensors]
    if _function(name, len(pointers), len(integers))(*pointers, *integers):
        raise MemoryError(f"no memory for the weights in {name}")


def dense(*tensors: torch.Tensor | None) -> list[torch.Tensor | None]:
    """The tensors as kernels read them."""
    return [None if tensor is None else tensor.contiguous() for tensor in tensors]


def check_shapes(
    inputs: torch.Tensor,
    weight_ih: torch.Tensor,
    state: torch.Tensor | None,
    size: int,
    *marks: torch.Tensor | None,
) -> None:
    """Raise ``ValueError`` where a kernel would read beyond a tensor; ``size`` is that of a state."""
    steps, batch, features = inputs.shape
    fits = features == weight_ih.shape[1] and (state is None or state.shape == (batch, size))
    if not (fits and all(mark is None or mark.shape == (steps, batch, 1) for mark in marks)):
        shapes = [None if tensor is None else tuple(tensor.shape) for tensor in (inputs, state, *marks)]
        raise ValueError(
            f"expected {weight_ih.shape[1]} features and a state of {size}, got inputs, state, starts and timespans of "
            f"shapes {shapes}"
        )


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
