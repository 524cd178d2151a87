"""What the kernels of whole sequences share."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch

from velora_sb3.cells.kernels import cpu, gpu

OptionalTensor = torch.Tensor | None


def compiled(name: str, inputs: torch.Tensor, units: int, stored: int) -> Any:
    """The module of this name whose ``forward`` and ``backward`` replace the loops over time; None where there is none.

    Args:
        name: ``gated`` or ``mixed_memory``.
        inputs: ``(T, B, F)``.
        units: Units of the cell.
        stored: Numbers that the kernel stores for each step and row of the batch.
    """
    if gpu.supports(inputs, units, stored):
        return import_module(f"{gpu.__name__}.{name}")  # which imports Triton
    return import_module(f"{cpu.__name__}.{name}") if cpu.supports(inputs, units) else None


def reset_masks(starts: OptionalTensor, steps: int) -> list[OptionalTensor]:
    """The mask of each step at which an episode starts, and None for the others; on a GPU, every step's mask.

    Kernels select with it: a product with 0 would carry a NaN into the next episode.
    """
    if starts is None:
        return [None] * steps
    masks: list[OptionalTensor] = list(starts.unbind(0))
    if starts.device.type != "cpu":  # looking would wait for it
        return masks
    has_start = starts.flatten(1).any(1).tolist()
    return [mask if has else None for mask, has in zip(masks, has_start, strict=True)]


def states_before(
    states: torch.Tensor,  # (T, B, S)
    state: OptionalTensor,  # (B, S)
    starts: OptionalTensor,  # (T, B, 1)
) -> torch.Tensor:
    """The state before each step, after its reset: what the recurrent weights of the step are multiplied by."""
    initial = torch.zeros_like(states[0]) if state is None else state
    before = torch.cat([initial.unsqueeze(0), states[:-1]])
    return before if starts is None else before.masked_fill_(starts, 0)


def weight_gradients(
    grads: torch.Tensor,  # (T, B, N): of the products
    inputs: torch.Tensor,  # (T, B, F)
    before: torch.Tensor,  # (T, B, H)
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The gradients of the inputs' weights ``(N, F)``, the recurrent weights ``(N, H)`` and the bias ``(N,)``."""
    flat = grads.flatten(0, 1)
    return flat.t() @ inputs.flatten(0, 1), flat.t() @ before.flatten(0, 1), flat.sum(0)
