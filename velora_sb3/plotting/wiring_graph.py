"""The wiring of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from ncps.wirings import Wiring
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import nn

from velora_sb3.plotting.acting_cell import find_cell
from velora_sb3.plotting.figures import BLUE, GREY, ORANGE, PURPLE, SKY, new_figure
from velora_sb3.plotting.synapses import Array, Network, read_network

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SWEEPS = 4
MAX_NAMES = 40  # neurons of a layer that are labeled
FILL = {"sensory": "#ffffff", "inter": SKY, "command": GREY, "motor": PURPLE}


def wiring_graph(
    model_or_cell: BaseAlgorithm | nn.Module | Wiring, inputs: Sequence[str] | None = None, title: str = ""
) -> Figure:
    """Plot the neurons of a wired network, layer by layer, and its synapses: excitatory in blue, inhibitory in orange.

    For a model, this is the network that chooses the actions. Stronger synapses have thicker lines. Signs and strengths
    are those that the network has learned (see :func:`velora_sb3.plotting.synapses.read_network`); a bare wiring shows
    its own polarities. Neurons are ordered within their layers to reduce crossings. A wiring with a single layer
    (``fully_connected``, ``random``) is plotted as a matrix with one row per source.

    Args:
        model_or_cell: A model, a policy, a cell, or a built ncps wiring.
        inputs: Names of the inputs; None for numbers.
        title: Title of the figure.

    Returns:
        The figure.

    Raises:
        ValueError: If the cell is dense or missing, or the number of names is not that of the inputs.
        TypeError: For any other object.
        ImportError: If matplotlib is not installed.
    """
    cell: Any = model_or_cell
    if isinstance(model_or_cell, BaseAlgorithm | nn.Module):
        cell = find_cell(model_or_cell)
        if cell is None:
            policy = getattr(model_or_cell, "policy", model_or_cell)
            raise ValueError(f"{type(policy).__name__} has no liquid cell, so there is no wiring to plot")
    network = read_network(cell)
    n_inputs = len(network.layers[0][1])
    if inputs is not None and len(inputs) != n_inputs:
        raise ValueError(
            f"the network has {n_inputs} inputs, got {len(inputs)} names; the last inputs of a recurrent off-policy "
            "algorithm are the previous action"
        )
    names = list(inputs) if inputs is not None else [str(number) for number in range(n_inputs)]
    figure = _draw_matrix(network, names) if len(network.layers) == 2 else _draw_layers(network, names)
    figure.supxlabel(network.note, fontsize="small", color=GREY)
    if title:
        figure.suptitle(title)
    return figure


def _draw_layers(network: Network, names: list[str]) -> Figure:
    orders = _order(network)
    largest = max(map(len, orders))
    figure = new_figure(8, float(np.clip(0.17 * largest + 1.2, 3.2, 9)))
    axes = figure.add_subplot()
    places = {
        neuron: (float(column), (len(order) - 1) / 2 - row)
        for column, order in enumerate(orders)
        for row, neuron in enumerate(order)
    }
    # Short layers are stretched, as lines that are far apart are easier to follow.
    stretch = [min(3.0, (largest - 1) / max(len(order) - 1, 1) * 0.8) if len(order) > 1 else 1.0 for order in orders]
    places = {neuron: (x, y * max(1.0, stretch[int(x)])) for neuron, (x, y) in places.items()}
    _draw_synapses(axes, network, places)
    size = float(np.clip(900 / largest, 12, 70))
    for column, (kind, neurons) in enumerate(network.layers):
        where = np.array([places[neuron] for neuron in neurons])
        fill = FILL.get(kind, SKY)
        axes.scatter(where[:, 0], where[:, 1], s=size, color=fill, edgecolors="0.4", linewidths=0.8, zorder=3)
        axes.text(column, largest / 2 + 0.3, f"{kind}\n{len(neurons)}", ha="center", va="bottom")
        if column in (0, len(network.layers) - 1) and len(neurons) <= MAX_NAMES:
            side = -1 if column == 0 else 1
            for number, neuron in enumerate(neurons):
                name = names[number] if column == 0 else str(neuron)
                x, y = places[neuron]
                align = "right" if column == 0 else "left"
                axes.text(x + 0.06 * side, y, name, ha=align, va="center", fontsize=7)
    axes.set_ylim(-largest / 2 - 0.8, largest / 2 + 0.3)
    axes.margins(x=0.12)
    axes.set_axis_off()
    _add_legend(axes)
    return figure


def _draw_synapses(axes: Axes, network: Network, places: dict[int, tuple[float, float]]) -> None:
    from matplotlib.collections import PathCollection
    from matplotlib.path import Path

    curve = [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4]
    relative = np.abs(network.strengths) / np.abs(network.strengths).max(initial=np.finfo(float).tiny)
    paths = []
    for source, target in network.synapses:
        (x, y), (to_x, to_y) = places[source], places[target]
        if source == target:
            corners = [(x, y), (x + 0.14, y + 1.4), (x + 0.14, y - 1.4), (x, y)]
        elif x == to_x:  # within a layer: an arc to the right
            bow = 0.12 + 0.02 * abs(y - to_y)
            corners = [(x, y), (x + bow, y), (x + bow, to_y), (x, to_y)]
        else:
            middle = (x + to_x) / 2
            corners = [(x, y), (middle, y), (middle, to_y), (to_x, to_y)]
        paths.append(Path(corners, curve))
    lines = PathCollection(
        paths,
        facecolors="none",
        edgecolors=[BLUE if strength > 0 else ORANGE for strength in network.strengths],
        linewidths=0.3 + 1.5 * relative,
        alpha=float(np.clip(12 / np.sqrt(max(len(paths), 1)), 0.35, 0.9)),
        zorder=1,
    )
    axes.add_collection(lines, autolim=False)


def _draw_matrix(network: Network, names: list[str]) -> Figure:
    from matplotlib.colors import LinearSegmentedColormap

    (_, inputs), (kind, neurons) = network.layers
    rows = {neuron: row for row, neuron in enumerate([*inputs, *neurons])}
    columns = {neuron: column for column, neuron in enumerate(neurons)}
    matrix = np.full((len(rows), len(columns)), np.nan)
    for (source, target), strength in zip(network.synapses, network.strengths, strict=True):
        matrix[rows[source], columns[target]] = strength
    bound = np.nanmax(np.abs(matrix)) if len(network.synapses) else 1.0
    figure = new_figure(8, float(np.clip(0.11 * len(rows) + 1.6, 3.2, 9)))
    axes = figure.add_subplot()
    cmap = LinearSegmentedColormap.from_list("synapses", [ORANGE, "#ffffff", BLUE])
    image = axes.imshow(matrix, cmap=cmap, vmin=-bound, vmax=bound, interpolation="nearest", aspect="auto")
    axes.axhline(len(inputs) - 0.5, color="0.4", linewidth=1)
    axes.set_xlabel(f"target unit ({kind})")
    axes.set_ylabel("source: inputs above\nthe line, units below")
    if len(rows) <= MAX_NAMES:
        axes.set_yticks(range(len(rows)), [*names, *map(str, neurons)], fontsize=7)
    figure.colorbar(image, ax=axes, label="inhibitory     strength     excitatory", fraction=0.03, pad=0.01)
    return figure


def _order(network: Network) -> list[list[int]]:
    """Neurons of each layer, each near those it is connected to (Sugiyama's barycenters); inputs keep their order."""
    orders = [list(neurons) for _, neurons in network.layers]
    connected: dict[int, list[int]] = {neuron: [] for order in orders for neuron in order}
    for source, target in network.synapses.tolist():
        connected[source].append(target)
        connected[target].append(source)
    for _ in range(SWEEPS):
        for column in [*range(1, len(orders)), *range(len(orders) - 2, 0, -1)]:
            places = {
                neuron: (row + 0.5) / len(order)
                for other, order in enumerate(orders)
                if other != column
                for row, neuron in enumerate(order)
            }
            orders[column].sort(key=lambda neuron: _mean([places[n] for n in connected[neuron] if n in places]))
    return orders


def _mean(values: Array | list[float]) -> float:
    return float(np.mean(values)) if len(values) else 0.5


def _add_legend(axes: Axes) -> None:
    from matplotlib.lines import Line2D

    kinds = [
        Line2D([], [], color=color, label=label) for color, label in ((BLUE, "excitatory"), (ORANGE, "inhibitory"))
    ]
    axes.legend(handles=kinds, frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, 0.02))
