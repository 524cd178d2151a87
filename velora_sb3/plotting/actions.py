"""How often an agent took which actions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces

from velora_sb3.plotting.figures import BLUE, new_figure, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_PANELS = 12
PANELS_PER_ROW = 4
MAX_LABELS = 20
BINS = 30

# For each dimension its name, the edges of its bars (bars + 1,), and the share of steps of each (bars,).
Histograms = Sequence[tuple[str, np.ndarray, np.ndarray]]


def action_histogram(actions: np.ndarray, space: spaces.Space[Any], title: str = "") -> Figure:
    """Plot how often each action was taken, with one panel per dimension, for up to twelve dimensions.

    Args:
        actions: ``(N, ...)``, as the environment received them.
        space: The action space: Box, Discrete, MultiDiscrete or MultiBinary.
        title: Title of the figure.

    Returns:
        The figure.

    Raises:
        ValueError: For any other action space.
        ImportError: If matplotlib is not installed.
    """
    columns = np.asarray(actions).reshape(len(actions), -1).T
    if isinstance(space, spaces.Box):
        bounds = zip(np.ravel(space.low), np.ravel(space.high), strict=True)
        limits = [(float(low), float(high)) if np.isfinite([low, high]).all() else None for low, high in bounds]
        bars = [np.histogram(values, BINS, limit) for values, limit in zip(columns, limits, strict=True)]
    else:
        edges = [bar_edges(choices) for choices in choices_of(space)]
        bars = [np.histogram(values, edge) for values, edge in zip(columns, edges, strict=True)]
    histograms = [(str(number), edges, counts / len(actions)) for number, (counts, edges) in enumerate(bars)]
    if len(histograms) == 1:
        histograms = [("action", *histograms[0][1:])]
    return draw_shares(histograms, title, continuous=isinstance(space, spaces.Box))


def draw_shares(
    histograms: Histograms, title: str = "", *, continuous: bool, choices: Sequence[str] | None = None
) -> Figure:
    """Plot the histogram of each dimension of the actions, for up to twelve dimensions.

    Args:
        histograms: One for each dimension.
        title: Title of the figure.
        continuous: Whether the actions are real numbers, rather than choices.
        choices: Names of the choices, if there is one dimension; None for their numbers.
    """
    shown = histograms[:MAX_PANELS]
    n_columns = min(PANELS_PER_ROW, len(shown))
    n_rows = -(-len(shown) // n_columns)
    more = f" (first {MAX_PANELS} of {len(histograms)} dimensions)" if len(histograms) > MAX_PANELS else ""
    figure = new_figure(8, 2.6 if n_rows == 1 else 2.0 * n_rows, title + more)
    for number, (name, edges, shares) in enumerate(shown):
        axes = figure.add_subplot(n_rows, n_columns, number + 1)
        centers = (edges[:-1] + edges[1:]) / 2
        axes.bar(centers, 100 * shares, np.diff(edges) * (1.0 if continuous else 0.8), color=BLUE)
        axes.set_xlim(edges[0], edges[-1])
        if not continuous and len(centers) <= MAX_LABELS:
            axes.set_xticks(centers, choices or [f"{center:.0f}" for center in centers])
        x_label = name if name == "action" else f"action {name}"
        style(axes, x_label, "% of steps" if number % n_columns == 0 else "")
    return figure


def choices_of(space: spaces.Space[Any]) -> list[range]:
    """The choices in each dimension of a discrete action space."""
    if isinstance(space, spaces.Discrete):
        return [range(int(space.start), int(space.start + space.n))]
    if isinstance(space, spaces.MultiDiscrete):
        starts, counts = np.ravel(space.start).tolist(), np.ravel(space.nvec).tolist()
        return [range(start, start + count) for start, count in zip(starts, counts, strict=True)]
    if isinstance(space, spaces.MultiBinary):
        return [range(2)] * int(np.prod(space.shape))
    raise ValueError(f"expected an action space of Box, Discrete, MultiDiscrete or MultiBinary, got {space}")


def bar_edges(choices: range) -> np.ndarray:
    """Edges of bars around choices."""
    return np.arange(choices.start, choices.stop + 1) - 0.5
