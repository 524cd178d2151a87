"""The units of a network over an episode, with frames and curves of the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from velora_sb3.plotting.episode_trace import EpisodeTrace
from velora_sb3.plotting.figures import new_figure, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def hidden_state_trace(
    trace: EpisodeTrace,
    lines: dict[str, tuple[np.ndarray, str]] | None = None,
    title: str = "",
    y_label: str = "",
) -> Figure:
    """Plot frames, the units as a heat map with similar units next to each other, and curves.

    Args:
        trace: The episode, from :func:`velora_sb3.plotting.trace_episode`.
        lines: Curves over the episode by label: values ``(T,)`` and a matplotlib style.
        title: Title of the figure.
        y_label: Y-axis label of the curves, with the unit.

    Returns:
        The figure.

    Raises:
        ValueError: If the model is neither recurrent nor has a liquid cell.
        ImportError: If matplotlib is not installed.
    """
    if trace.states.shape[1] == 0:
        raise ValueError("the model is not recurrent and has no liquid cell, so there are no units to plot")
    heights = [1.0] * bool(trace.frames) + [2.0] + [1.4] * bool(lines)
    figure = new_figure(8, 1.6 * sum(heights), title)
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    row = 0
    if trace.frames:
        strip = grid[0].subgridspec(1, len(trace.frames), wspace=0.02)
        for column, (step, frame) in enumerate(trace.frames.items()):
            axes = figure.add_subplot(strip[column])
            axes.imshow(frame)
            axes.set_title(f"step {step}", fontsize=8)
            axes.set_axis_off()
        row = 1
    units = figure.add_subplot(grid[row])
    image = units.imshow(
        trace.states.T[order_of_units(trace.states)],
        aspect="auto",
        cmap="RdBu_r",
        vmin=-1,
        vmax=1,
        interpolation="nearest",
        extent=(0, len(trace.states), trace.states.shape[1], 0),
    )
    units.set_ylabel(f"{trace.states.shape[1]} units" + ("" if trace.carried else ", reset at each step"))
    units.set_yticks([])
    figure.colorbar(image, ax=units, label="activation", fraction=0.03, pad=0.01, extend=_extend(trace.states))
    if lines:
        below = figure.add_subplot(grid[row + 1], sharex=units)
        for label, (values, line_style) in lines.items():
            below.plot(np.arange(len(values)) + 0.5, values, line_style, label=label, linewidth=1.5)
        style(below, "step", y_label)
        below.legend(frameon=False, ncols=len(lines), loc="upper right")
        units.tick_params(labelbottom=False)
    else:
        units.set_xlabel("step")
    return figure


def order_of_units(states: np.ndarray) -> np.ndarray:
    """Order units by the angle of their first two principal components, so that similar ones are neighbors.

    Args:
        states: The units over time ``(T, S)``.

    Returns:
        Indices ``(S,)``.
    """
    centred = states - states.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    first = directions[0]
    second = directions[1] if len(directions) > 1 else np.zeros_like(first)
    return np.argsort(np.arctan2(second, first), kind="stable")


def _extend(states: np.ndarray) -> str:
    """At which ends of the color bar values lie outside: an LTC's potentials are unbounded."""
    below, above = bool(states.min() < -1), bool(states.max() > 1)
    return {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[below, above]
