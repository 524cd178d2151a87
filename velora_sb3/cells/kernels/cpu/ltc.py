"""The C kernel of an LTC: the sensory synapses, all steps and all unfolds in one call each way."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from velora_sb3.cells.kernels.cpu.calling import call
from velora_sb3.cells.kernels.ltc_synapses import Network

LANES = 16  # of the widest vectors: potentials are kept for multiples of as many rows


def _call(name: str, network: Network, tensors: Sequence[torch.Tensor | None], *more: torch.Tensor | None) -> None:
    inputs, synapses = tensors[0], tensors[-1]
    assert inputs is not None and synapses is not None
    every = [*tensors, network.sensory.by_unit, network.recurrent.by_unit, *more]
    call(name, every, *inputs.shape, network.recurrent.units, network.unfolds, synapses.shape[-1])


def forward(
    network: Network, keep: bool, tensors: Sequence[torch.Tensor | None]
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The states after every step ``(T, B, U)``, and what :func:`backward` needs.

    Args:
        network: The synapses and the number of unfolds ``M``.
        keep: Whether to keep that: the potentials before every unfold.
        tensors: Inputs ``(T, B, F)``, state ``(B, U)``, starts ``(T, B, 1)`` or None, length of an unfold
            ``(T, B, 1)``, capacities ``(U, 1)``, leaks ``(U, 2, 1)`` and synapses ``(4, E)``; contiguous.
    """
    inputs, units = tensors[0], network.recurrent.units
    assert inputs is not None
    steps, batch, _ = inputs.shape
    states = inputs.new_empty(steps, batch, units)
    kept = inputs.new_empty(steps, network.unfolds, units, -(-batch // LANES) * LANES) if keep else None
    _call("ltc_forward", network, tensors, states, kept)
    return states, [] if kept is None else [kept]


def backward(
    network: Network,
    grad_states: torch.Tensor,
    kept: Sequence[torch.Tensor],
    tensors: Sequence[torch.Tensor | None],
) -> tuple[torch.Tensor | None, ...]:
    """The gradients of the tensors, in their order."""
    (potentials,) = kept
    inputs, state, _, dt, _, _, synapses = [None if one is None else torch.empty_like(one) for one in tensors]
    by_unit = potentials.new_empty(network.recurrent.units, 3, 1)  # the leak and the capacity
    _call("ltc_backward", network, tensors, grad_states, potentials, inputs, state, dt, by_unit, synapses)
    return inputs, state, None, dt, by_unit[:, 2], by_unit[:, :2], synapses
