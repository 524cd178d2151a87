"""The neurons and synapses of a wired cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ncps.wirings import Wiring
from torch.nn import functional

from velora_sb3.cells import CfCCell, LRCCell, LTCCell, MixedMemoryCell
from velora_sb3.cells.wired_cells import WiredCell

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass
class Network:
    """A wired network.

    Attributes:
        layers: Name and neurons of each layer, from inputs to outputs; inputs are ``-1, -2, ...``.
        synapses: Source and target of each synapse ``(E, 2)``.
        strengths: Strength of each synapse ``(E,)``: positive is excitatory, negative inhibitory.
        note: What the plot leaves out; may be empty.
    """

    layers: list[tuple[str, list[int]]]
    synapses: Array
    strengths: Array
    note: str = ""


def read_network(cell: Any) -> Network:
    """Neurons and synapses of a wired cell, or of a built wiring.

    A synapse of an LTC is excitatory if its learned reversal potential is positive; its strength is its conductance. A
    wired CfC has two weights per synapse, of its heads f and g; the strength is how the unit's next state depends on
    the source while the gate is half open: :math:`(f + g) / 2`, or :math:`f + g / 2` in ``no_gate`` mode; in ``pure``
    mode :math:`-A f`. The wiring's own polarities do not matter there.
    """
    if isinstance(cell, MixedMemoryCell):
        network = read_network(cell.cell)
        network.note = "; ".join(filter(None, [network.note, "its LSTM is not drawn"]))
        return network
    if isinstance(cell, LTCCell):
        adjacency = (cell.wiring.sensory_adjacency_matrix, cell.wiring.adjacency_matrix)
        strengths = torch.sign(cell.erev) * functional.softplus(cell.w)
        recurrent, sensory = np.split(strengths.detach().cpu().numpy(), [cell.recurrent.count])
        return _network(cell.wiring, *adjacency, np.concatenate([sensory, recurrent]))
    if isinstance(cell, WiredCell):
        return _of_layers(cell)
    if isinstance(cell, CfCCell | LRCCell):
        kind = "CfC" if isinstance(cell, CfCCell) else "LRC"
        raise ValueError(
            f"this {kind} is dense, so there is no wiring to plot: build it with wiring='ncp', or plot its units with "
            "hidden_state_trace"
        )
    if isinstance(cell, Wiring):
        if not cell.is_built():
            raise ValueError("the wiring is not built yet: call wiring.build(input_size) first")
        signs = [matrix[matrix != 0] for matrix in (cell.sensory_adjacency_matrix, cell.adjacency_matrix)]
        return _network(cell, cell.sensory_adjacency_matrix, cell.adjacency_matrix, np.concatenate(signs))
    raise TypeError(f"expected a model with a wired liquid cell, a cell or a wiring, got {type(cell).__name__}")


def _network(wiring: Wiring, sensory: Array, recurrent: Array, strengths: Array, note: str = "") -> Network:
    """A network; ``strengths`` has the sensory synapses first, each part ordered by source."""
    inputs, reached = np.nonzero(sensory)
    sources, targets = np.nonzero(recurrent)
    synapses = np.stack([np.concatenate([-1 - inputs, sources]), np.concatenate([reached, targets])], axis=1)
    layers = [("sensory", [-1 - number for number in range(len(sensory))])]
    for layer in range(wiring.num_layers):
        neurons = [int(neuron) for neuron in wiring.get_neurons_of_layer(layer)]
        kinds = sorted({str(wiring.get_type_of_neuron(neuron)) for neuron in neurons})
        layers.append((" and ".join(kinds), neurons))
    return Network(layers, synapses, strengths.astype(float), note)


def _of_layers(cell: WiredCell) -> Network:
    wiring = cell.wiring
    neurons = [wiring.get_neurons_of_layer(layer) for layer in range(wiring.num_layers)]
    sensory = np.zeros(wiring.sensory_adjacency_matrix.shape)
    recurrent = np.zeros(wiring.adjacency_matrix.shape)
    for number, layer in enumerate(cell.layers):
        assert isinstance(layer, CfCCell | LRCCell) and layer.mask is not None
        weights = layer.prepare(False)
        strength = _influence(layer, weights.inputs)  # zero where there is no synapse, or it is pruned
        if number == 0:
            sensory[:, neurons[0]] = strength.T
        else:
            recurrent[np.ix_(neurons[number - 1], neurons[number])] = strength.T
        if len(neurons) == 1:  # plotted as a matrix, which has room for all of them
            recurrent[:] = _influence(layer, weights.recurrent).T
    values = np.concatenate([sensory[sensory != 0], recurrent[recurrent != 0]])
    note = "a layer is fully connected" + ("" if len(neurons) == 1 else "; synapses within layers are not drawn")
    # Nonzero strengths are the adjacency.
    return _network(wiring, sensory, recurrent, values, note)


def _influence(layer: CfCCell | LRCCell, weights: torch.Tensor) -> Array:
    """How each unit's next state depends on each source, with the gate half open ``(H, sources)``."""
    if isinstance(layer, LRCCell):  # what drives the unit, not how fast it follows
        return np.asarray(weights[2 * layer.hidden_size :].detach().cpu().numpy())
    f, g = (part.detach().cpu().numpy() for part in (weights[: layer.hidden_size], weights[layer.hidden_size :]))
    if layer.amplitude is not None:
        return np.asarray(-layer.amplitude.detach().cpu().numpy()[:, None] * f)
    g = g[: layer.hidden_size]
    return np.asarray(f + g / 2 if layer.mode == "no_gate" else (f + g) / 2)
