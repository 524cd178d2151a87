"""Whole sequences in one launch each way: Triton kernels that take the place of the loops over time on an NVIDIA GPU.

:func:`supports` decides whether they do. A program walks through all steps of 16 rows of the batch (of one row for an
LTC). Products of matrices are ``tf32x3``: three products of 10-bit mantissas on the tensor cores, with an error near
that of float32.

The modules in this folder import Triton, so they are imported where they are called.
"""

from __future__ import annotations

import functools
from importlib.util import find_spec

import torch

DEVICES = ["cuda"]  # tests add "cpu" for Triton's interpreter
MOST_LTC_UNITS = 64  # registers hold an LTC's synapses and their gradients
ROWS = 16  # of the batch in a program: the fewest that a tensor core multiplies


@functools.cache
def shared_memory(device: torch.device) -> int:
    """Bytes that a program may use on its multiprocessor; 0 without Triton or tensor cores for float32."""
    if find_spec("triton") is None:
        return 0
    if device.type == "cpu":  # interpreted
        return 227 * 1024
    if torch.version.hip is not None or torch.cuda.get_device_capability(device) < (8, 0):
        return 0
    from triton.runtime import driver

    index = torch.cuda.current_device() if device.index is None else device.index
    return int(driver.active.utils.get_device_properties(index)["max_shared_mem"])


def padded(units: int) -> int:
    """The number of units as the tensor cores multiply it: a power of two, 16 at least."""
    return max(16, 1 << (units - 1).bit_length())


def fits(device: torch.device, matrices: int, units: int) -> bool:
    """Whether so many recurrent weight matrices fit into a multiprocessor at once, beside the rows to multiply.

    Everything is there twice: as 10-bit mantissas, and what they leave of float32.
    """
    width = padded(units)
    return 2 * 4 * width * (matrices * width + ROWS) <= shared_memory(device)


def supports(inputs: torch.Tensor, units: int, stored: int) -> bool:
    """Whether a sequence runs in a Triton kernel.

    Args:
        inputs: ``(T, B, F)``.
        units: Units of the cell.
        stored: Numbers that the kernel stores for each step and row of the batch.
    """
    return _is_possible(inputs, inputs.shape[0] * inputs.shape[1] * stored) and fits(inputs.device, 1, units)


def supports_ltc(synapses: torch.Tensor, units: int, stored: int) -> bool:
    """As :func:`supports`, for an LTC with these synapses, and the numbers in the largest tensor of its kernels."""
    return units <= MOST_LTC_UNITS and _is_possible(synapses, stored) and shared_memory(synapses.device) > 0


def _is_possible(tensor: torch.Tensor, stored: int) -> bool:
    """Whether the device and the type are right, and offsets into what is stored fit 32 bits."""
    return tensor.device.type in DEVICES and tensor.dtype == torch.float32 and 0 < stored < 2**31
