"""Calls of the C kernels, with tensors as they read them."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence

import torch

from velora_sb3.cells.kernels import cpu

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
        raise MemoryError(f"not enough memory for the weights in {name}")


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
