"""The learning curve of one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from velora_sb3._optional import install_line, missing_modules
from velora_sb3.plotting.figures import BLUE, GREY, ORANGE, new_figure, style_training

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_POINTS = 1_000  # more are rasterized in vector graphics


def curves_unavailable_reason() -> str | None:
    """Why learning curves cannot be plotted here, and how to fix it; None if they can."""
    return f"no learning curve: {install_line('plot')}" if missing_modules("plot") else None


def learning_curve(episodes: pd.DataFrame, evaluations: pd.DataFrame | None = None, title: str = "") -> Figure:
    """Plot the returns of training episodes, their moving average, and evaluations with their standard deviation.

    Args:
        episodes: One row per training episode: ``timesteps`` at its end, ``return``.
        evaluations: One row per evaluation: ``timesteps``, ``mean_return``, ``std_return``.
        title: Title of the figure.

    Returns:
        The figure.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    figure = new_figure(8, 4.5)
    axes = figure.add_subplot()
    draw_episodes(axes, episodes)
    if evaluations is not None and len(evaluations):
        steps, mean, std = (evaluations[name] for name in ("timesteps", "mean_return", "std_return"))
        axes.fill_between(steps, mean - std, mean + std, color=ORANGE, alpha=0.2, linewidth=0)
        axes.plot(steps, mean, "o-", color=ORANGE, markersize=3.5, label="evaluations (mean ± std)")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, loc="best")
    style_training(axes, "timesteps", "episode return", title)
    return figure


def draw_episodes(axes: Axes, episodes: pd.DataFrame, column: str = "return", window: int | None = None) -> None:
    """Draw a column of training episodes and its moving average over ``window`` episodes."""
    if len(episodes) == 0:
        return
    steps, values = episodes["timesteps"], episodes[column]
    many = len(episodes) > MAX_POINTS
    axes.plot(steps, values, ".", color=GREY, alpha=0.7, markersize=3, label="training episodes", rasterized=many)
    window = window or moving_average_window(len(episodes))
    if window > 1:
        # Of episodes that end at the same timestep, the last: its average includes the others.
        average = values.rolling(window, min_periods=1).mean().groupby(steps).last()
        axes.plot(average.index, average, color=BLUE, linewidth=1.5, label=f"mean of last {window}")


def moving_average_window(n_episodes: int) -> int:
    """Episodes to average over: a tenth of all, from 1 to 100."""
    return max(1, min(100, n_episodes // 10))
