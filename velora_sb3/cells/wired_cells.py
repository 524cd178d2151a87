"""Networks whose connections follow a wiring: one cell for each layer of neurons."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from ncps.wirings import Wiring
from torch import nn

from velora_sb3.cells.cell import LiquidCell
from velora_sb3.cells.cfc_cell import CfCCell
from velora_sb3.cells.lrc_cell import LRCCell
from velora_sb3.cells.wiring import built_copy


class WiredCell(LiquidCell):
    """Cells in layers (inter, command and motor neurons for an NCP), each feeding the next within a step.

    Synapses between layers follow the wiring; within a layer all neurons are connected, as in ncps.
    The state holds the layers in order; the output is the last layer (the motor neurons).

    References:
        Lechner et al. (2020), "Neural circuit policies enabling auditable autonomy", Nature Machine Intelligence,
        https://doi.org/10.1038/s42256-020-00237-3. Differs from ncps: masks are buffers and applied once per
        forward; each layer runs over the whole sequence before the next one, which is equivalent.
    """

    def __init__(
        self, input_size: int | None, wiring: Wiring, make_layer: Callable[[int, int, torch.Tensor], LiquidCell]
    ) -> None:
        super().__init__()
        self.wiring = built_copy(wiring, input_size)
        neurons = [self.wiring.get_neurons_of_layer(layer) for layer in range(self.wiring.num_layers)]
        synapses = [self.wiring.sensory_adjacency_matrix[:, neurons[0]]] + [
            self.wiring.adjacency_matrix[np.ix_(sources, targets)] for sources, targets in pairwise(neurons)
        ]
        self.layers = nn.ModuleList()
        for incoming in synapses:
            sources, targets = incoming.shape
            mask = np.concatenate([np.abs(incoming), np.ones((targets, targets))])
            self.layers.append(make_layer(sources, targets, torch.as_tensor(mask)))
        self.layer_sizes = [len(layer) for layer in neurons]
        self.input_size = int(self.wiring.input_dim)
        self.state_size = sum(self.layer_sizes)
        self.output_size = self.layer_sizes[-1]

    def prepare(self, timed: bool) -> list[Any]:
        """Every layer's weights, masked."""
        return [layer.prepare(timed) for layer in self.layers]  # type: ignore[operator]

    def step(
        self,
        prepared: list[Any],
        inputs: torch.Tensor,
        state: torch.Tensor | None,
        timespans: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One step through all layers."""
        states = []
        for layer, weights, own in zip(self.layers, prepared, self.split(state), strict=True):
            inputs, _ = layer.step(weights, inputs, own, timespans)  # type: ignore[operator]
            states.append(inputs)
        return inputs, torch.cat(states, dim=-1)

    def sequence(
        self,
        inputs: torch.Tensor,
        state: torch.Tensor | None,
        starts: torch.Tensor | None,
        timespans: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """All steps of the first layer, then of the next: no layer feeds back into an earlier one."""
        states = []
        for layer, own in zip(self.layers, self.split(state), strict=True):
            inputs, own_states = layer.sequence(inputs, own, starts, timespans)  # type: ignore[operator]
            states.append(own_states)
        return inputs, torch.cat(states, dim=-1)

    def split(self, state: torch.Tensor | None) -> list[torch.Tensor | None]:
        """The state ``(B, S)`` layer by layer; None for each if it is the zero state."""
        if state is None:
            return [None] * len(self.layer_sizes)
        return list(state.split(self.layer_sizes, dim=-1))


class WiredCfCCell(WiredCell):
    """A wired CfC.

    Args:
        input_size: Number of features ``F``; None if the wiring is built.
        wiring: An ncps wiring, copied: one wiring serves any number of networks.
        mode: ``default``, ``no_gate`` or ``pure``.

    Raises:
        ValueError: If the wiring is not built and ``input_size`` is None, or is built for another size.
    """

    def __init__(self, input_size: int | None, wiring: Wiring, mode: str = "default") -> None:
        def make_layer(sources: int, targets: int, mask: torch.Tensor) -> CfCCell:
            return CfCCell(sources, targets, mode, backbone_layers=0, sparsity_mask=mask)

        super().__init__(input_size, wiring, make_layer)


class WiredLRCCell(WiredCell):
    """A wired LRC.

    Args:
        input_size: Number of features ``F``; None if the wiring is built.
        wiring: An ncps wiring, copied: one wiring serves any number of networks.
        solver: ``closed_form`` or ``euler``.

    Raises:
        ValueError: If the wiring is not built and ``input_size`` is None, or is built for another size.
    """

    def __init__(self, input_size: int | None, wiring: Wiring, solver: str = "closed_form") -> None:
        def make_layer(sources: int, targets: int, mask: torch.Tensor) -> LRCCell:
            return LRCCell(sources, targets, solver, mask)

        super().__init__(input_size, wiring, make_layer)
