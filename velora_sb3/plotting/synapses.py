"""The neurons and synapses of a wired cell, as they are to be drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ncps.wirings import Wiring
from torch.nn import functional

from velora_sb3.cells import CfCCell, LTCCell, MixedMemoryCell, WiredCfCCell

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass
class Network:
    """A wired network.

    Attributes:
        layers: Name and neurons of each layer in the order of the signal; inputs are ``-1, -2, ...``.
        synapses: Source and target of each synapse ``(E, 2)``.
        strengths: How strong each is ``(E,)``: above 0 excitatory, below 0 inhibitory.
        note: What the picture leaves out or means; nothing if there is nothing to say.
    """

    layers: list[tuple[str, list[int]]]
    synapses: Array
    strengths: Array
    note: str = ""


def read_network(cell: Any) -> Network:
    """Neurons and synapses of a wired cell, or of a wiring that is built.

    An LTC's synapse excites if its learned reversal potential is above 0; its strength is its conductance. A wired CfC
    has two weights for a synapse, of its heads f and g; what counts is how the unit's next state depends on the source
    with the gate half open: :math:`(f + g) / 2`, or :math:`f + g / 2` in ``no_gate`` mode; in ``pure`` mode
    :math:`-A f`. The wiring's own polarities play no part there.
    """
    if isinstance(cell, MixedMemoryCell):
        network = read_network(cell.cell)
        network.note = "; ".join(filter(None, [network.note, "the LSTM memory before it is not drawn"]))
        return network
    if isinstance(cell, LTCCell):
        adjacency = (cell.wiring.sensory_adjacency_matrix, cell.wiring.adjacency_matrix)
        strengths = torch.sign(cell.erev) * functional.softplus(cell.w)
        recurrent, sensory = np.split(strengths.detach().cpu().numpy(), [cell.recurrent.count])
        return _network(cell.wiring, *adjacency, np.concatenate([sensory, recurrent]))
    if isinstance(cell, WiredCfCCell):
        return _of_wired_cfc(cell)
    if isinstance(cell, CfCCell):
        raise ValueError(
            "this CfC is dense: every unit sees every other, so there is no wiring to draw; build it with "
            "wiring='ncp', or look at hidden_state_trace"
        )
    if isinstance(cell, Wiring):
        if not cell.is_built():
            raise ValueError("the wiring has no inputs yet: call wiring.build(input_size) before")
        signs = [matrix[matrix != 0] for matrix in (cell.sensory_adjacency_matrix, cell.adjacency_matrix)]
        return _network(cell, cell.sensory_adjacency_matrix, cell.adjacency_matrix, np.concatenate(signs))
    raise TypeError(f"expected a model with a wired liquid cell, the cell or its wiring, got {type(cell).__name__}")


def _network(wiring: Wiring, sensory: Array, recurrent: Array, strengths: Array, note: str = "") -> Network:
    """A network whose strengths are those of the sensory synapses, then of the others, each source by source."""
    inputs, reached = np.nonzero(sensory)
    sources, targets = np.nonzero(recurrent)
    synapses = np.stack([np.concatenate([-1 - inputs, sources]), np.concatenate([reached, targets])], axis=1)
    layers = [("sensory", [-1 - number for number in range(len(sensory))])]
    for layer in range(wiring.num_layers):
        neurons = [int(neuron) for neuron in wiring.get_neurons_of_layer(layer)]
        kinds = sorted({str(wiring.get_type_of_neuron(neuron)) for neuron in neurons})
        layers.append((" and ".join(kinds), neurons))
    return Network(layers, synapses, strengths.astype(float), note)


def _of_wired_cfc(cell: WiredCfCCell) -> Network:
    wiring = cell.wiring
    neurons = [wiring.get_neurons_of_layer(layer) for layer in range(wiring.num_layers)]
    sensory = np.zeros(wiring.sensory_adjacency_matrix.shape)
    recurrent = np.zeros(wiring.adjacency_matrix.shape)
    for number, layer in enumerate(cell.layers):
        assert isinstance(layer, CfCCell) and layer.mask is not None
        weights = layer.prepare(False)
        strength = _influence(layer, weights.inputs)
        exists = layer.mask[: layer.hidden_size, : layer.input_size].cpu().numpy() != 0
        strength = np.where(exists & (strength == 0), np.finfo(float).tiny, strength)  # a synapse of no strength yet
        if number == 0:
            sensory[:, neurons[0]] = strength.T
        else:
            recurrent[np.ix_(neurons[number - 1], neurons[number])] = strength.T
        if len(neurons) == 1:  # the picture is a matrix then, with room for all
            recurrent[:] = _influence(layer, weights.recurrent).T
    values = np.concatenate([sensory[sensory != 0], recurrent[recurrent != 0]])
    note = "within a layer of a CfC every neuron sees every other" + ("" if len(neurons) == 1 else ": not drawn")
    # A matrix of strengths is its own adjacency: what is not 0 exists.
    return _network(wiring, sensory, recurrent, values, note)


def _influence(layer: CfCCell, weights: torch.Tensor) -> Array:
    """How each unit's next state depends on each source ``(H, sources)``, with the gate half open."""
    f, g = (part.detach().cpu().numpy() for part in (weights[: layer.hidden_size], weights[layer.hidden_size :]))
    if layer.amplitude is not None:
        return np.asarray(-layer.amplitude.detach().cpu().numpy()[:, None] * f)
    g = g[: layer.hidden_size]
    return np.asarray(f + g / 2 if layer.mode == "no_gate" else (f + g) / 2)
