"""How the return grew while one model learned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from velora_sb3._optional import install_line, missing_modules
from velora_sb3.plotting.figures import BLUE, GREY, ORANGE, new_figure, tidy_returns

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_POINTS = 1_000  # more are one picture in a vector graphic


def why_no_curves() -> str | None:
    """What learning curves lack here.

    Returns:
        A line that says how to mend it; None if they can be drawn.
    """
    return f"no learning curve: {install_line('plot')}" if missing_modules("plot") else None


def learning_curve(episodes: pd.DataFrame, evaluations: pd.DataFrame | None = None, title: str = "") -> Figure:
    """Draw the returns of training episodes, their moving average, and the evaluations with their spread.

    Args:
        episodes: One row for each training episode: ``timesteps`` at its end, ``return``.
        evaluations: One row for each evaluation: ``timesteps``, ``mean_return``, ``std_return``.
        title: Stands above the picture.

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
        axes.plot(steps, mean, "o-", color=ORANGE, markersize=3.5, label="evaluations, ± std over episodes")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, loc="best")
    tidy_returns(axes, "timesteps", "episode return", title)
    return figure


def draw_episodes(axes: Axes, episodes: pd.DataFrame, column: str = "return", window: int | None = None) -> None:
    """Draw a number of each training episode, and its moving average.

    Args:
        axes: Where.
        episodes: One row for each training episode: ``timesteps`` at its end, and the number.
        column: The number's.
        window: Number of the latest episodes over which it is averaged; None for a tenth of all, at most 100.
    """
    if len(episodes) == 0:
        return
    steps, values = episodes["timesteps"], episodes[column]
    many = len(episodes) > MOST_POINTS
    axes.plot(steps, values, ".", color=GREY, alpha=0.7, markersize=3, label="training episodes", rasterized=many)
    window = window or moving_average_window(len(episodes))
    if window > 1:
        # Of episodes that end at the same time the last: it has the others in its average.
        average = values.rolling(window, min_periods=1).mean().groupby(steps).last()
        axes.plot(average.index, average, color=BLUE, linewidth=1.5, label=f"mean of the last {window}")


def moving_average_window(n_episodes: int) -> int:
    """Episodes to average over: a tenth of all, at most 100.

    Args:
        n_episodes: Number of all episodes.

    Returns:
        The window, at least 1.
    """
    return max(1, min(100, n_episodes // 10))
