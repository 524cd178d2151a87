"""What a network holds over an episode: its units, under what the environment showed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from velora_sb3.plotting.episode_trace import EpisodeTrace
from velora_sb3.plotting.figures import new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def hidden_state_trace(
    trace: EpisodeTrace,
    lines: dict[str, tuple[np.ndarray, str]] | None = None,
    title: str = "",
    y_label: str = "",
) -> Figure:
    """Draw frames, the units as a heat map with similar ones side by side, and curves below.

    Args:
        trace: What :func:`velora_sb3.plotting.trace_episode` returned.
        lines: Curves over the episode ``(T,)`` by their label, each with its matplotlib style.
        title: Stands above the picture.
        y_label: What the curves show, with its unit.

    Returns:
        The figure.

    Raises:
        ValueError: If the model has no units to show: it neither remembers nor has a liquid cell.
        ImportError: If matplotlib is not installed.
    """
    if trace.states.shape[1] == 0:
        raise ValueError("the model remembers nothing and has no liquid cell: there are no units to show")
    heights = [1.0] * bool(trace.frames) + [2.0] + [1.4] * bool(lines)
    figure = new_figure(8, 1.6 * sum(heights))
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
    picture = units.imshow(
        trace.states.T[order_of_units(trace.states)],
        aspect="auto",
        cmap="RdBu_r",
        vmin=-1,
        vmax=1,
        interpolation="nearest",
        extent=(0, len(trace.states), trace.states.shape[1], 0),
    )
    units.set_ylabel(f"{trace.states.shape[1]} units" + ("" if trace.carried else ", fresh at each step"))
    units.set_yticks([])
    figure.colorbar(picture, ax=units, label="activation", fraction=0.03, pad=0.01, extend=_beyond(trace.states))
    if lines:
        below = figure.add_subplot(grid[row + 1], sharex=units)
        for label, (values, style) in lines.items():
            below.plot(np.arange(len(values)) + 0.5, values, style, label=label, linewidth=1.5)
        tidy(below, "step", y_label)
        below.legend(frameon=False, ncols=len(lines), loc="upper right")
        units.tick_params(labelbottom=False)
    else:
        units.set_xlabel("step")
    if title:
        figure.suptitle(title)
    return figure


def order_of_units(states: np.ndarray) -> np.ndarray:
    """An order in which units that move alike stand side by side: by their first two principal components' angle.

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


def _beyond(states: np.ndarray) -> str:
    """Whether the colours end before the values do: an LTC's potentials have no bounds."""
    below, above = bool(states.min() < -1), bool(states.max() > 1)
    return {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[below, above]
