"""What an agent does: the distribution of its actions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces

from velora_sb3.plotting.figures import BLUE, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_PANELS = 12
WIDE = 4  # panels side by side


def action_histogram(actions: np.ndarray, space: spaces.Space[Any], title: str = "") -> Figure:
    """Draw how often each action was taken, one panel for each dimension (at most the first twelve).

    Args:
        actions: ``(N, ...)``, as the environment got them.
        space: The action space: Box, Discrete, MultiDiscrete or MultiBinary.
        title: Stands above the picture.

    Returns:
        The figure.

    Raises:
        ValueError: For a space of another kind.
        ImportError: If matplotlib is not installed.
    """
    kinds = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
    if not isinstance(space, kinds):
        raise ValueError(f"expected an action space of Box, Discrete, MultiDiscrete or MultiBinary, got {space}")
    columns = np.asarray(actions).reshape(len(actions), -1)[:, :MOST_PANELS]
    wide = min(WIDE, columns.shape[1])
    high = -(-columns.shape[1] // wide)
    figure = new_figure(8, 2.6 if high == 1 else 2.0 * high)
    for number, values in enumerate(columns.T):
        axes = figure.add_subplot(high, wide, number + 1)
        if isinstance(space, spaces.Box):
            _draw_numbers(axes, values, float(space.low.flat[number]), float(space.high.flat[number]))
        else:
            _draw_choices(axes, values, *_choices(space, number))
        name = "action" if columns.shape[1] == 1 else f"action {number}"
        tidy(axes, name, "% of steps" if number % wide == 0 else "")
    if title:
        figure.suptitle(title)
    return figure


def _draw_numbers(axes: Any, values: np.ndarray, low: float, high: float) -> None:
    bounded = np.isfinite([low, high]).all()
    axes.hist(
        values,
        bins=30,
        range=(low, high) if bounded else None,
        weights=np.full(len(values), 100 / len(values)),
        color=BLUE,
    )
    if bounded:
        axes.set_xlim(low, high)


def _draw_choices(axes: Any, values: np.ndarray, first: int, count: int) -> None:
    shares = 100 * np.bincount(values.astype(int) - first, minlength=count) / len(values)
    axes.bar(np.arange(first, first + count), shares, color=BLUE, width=0.8)
    if count <= 20:
        axes.set_xticks(np.arange(first, first + count))


def _choices(space: spaces.Space[Any], number: int) -> tuple[int, int]:
    """The lowest choice of a dimension, and how many there are."""
    if isinstance(space, spaces.Discrete):
        return int(space.start), int(space.n)
    if isinstance(space, spaces.MultiDiscrete):
        return int(space.start.flat[number]), int(space.nvec.flat[number])
    return 0, 2
