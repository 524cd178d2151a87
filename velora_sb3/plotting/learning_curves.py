"""How the return grew while a model learned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from velora_sb3._optional import install_line, missing_modules

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def why_no_curves() -> str | None:
    """What learning curves lack here.

    Returns:
        A line that says how to mend it; None if they can be drawn.
    """
    return f"no learning curve: {install_line('plot')}" if missing_modules("plot") else None


def plot_learning_curve(
    path: Path, episodes: pd.DataFrame, evaluations: pd.DataFrame | None = None, title: str = ""
) -> None:
    """Draw the returns of training episodes, their moving average, and the evaluations with their spread.

    Args:
        path: The picture to write, ``.png`` or ``.svg``.
        episodes: One row for each training episode: ``timesteps`` at its end, ``return``.
        evaluations: One row for each evaluation: ``timesteps``, ``mean_return``, ``std_return``.
        title: Stands above the picture.
    """
    figure = new_figure(8, 4.5)
    axes = figure.add_subplot()
    draw_episodes(axes, episodes)
    if evaluations is not None and len(evaluations):
        steps, mean, std = (evaluations[name] for name in ("timesteps", "mean_return", "std_return"))
        axes.fill_between(steps, mean - std, mean + std, color="tab:orange", alpha=0.2, linewidth=0)
        axes.plot(steps, mean, "o-", color="tab:orange", markersize=3.5, label="evaluations, ± std over episodes")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, loc="best")
    finish_axes(axes, "timesteps", "episode return", title)
    figure.savefig(path)


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
    axes.plot(steps, values, ".", color="0.65", markersize=3, label="training episodes")
    window = window or moving_average_window(len(episodes))
    if window > 1:
        # Of episodes that end at the same time the last: it has the others in its average.
        average = values.rolling(window, min_periods=1).mean().groupby(steps).last()
        axes.plot(average.index, average, color="tab:blue", linewidth=1.5, label=f"mean of the last {window}")


def new_figure(width: float, height: float) -> Figure:
    """A figure that nobody else knows of: pyplot keeps its figures alive and may look for a display.

    Args:
        width: In inches.
        height: In inches.

    Returns:
        The figure, empty.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_whole(figure: Figure, target: Path | BinaryIO) -> None:
    """Write a picture that is there whole or not at all, whenever the program dies.

    Args:
        figure: The picture.
        target: A file ``.png``, ``.svg`` or ``.pdf``, or an open one, which gets a PNG.
    """
    if not isinstance(target, Path):
        figure.savefig(target, format="png")
        return
    partial = target.with_name(f".{target.stem}.partial{target.suffix}")
    try:
        figure.savefig(partial)
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def finish_axes(axes: Axes, x_label: str, y_label: str, title: str) -> None:
    """What all pictures of returns have in common.

    Args:
        axes: With everything drawn, or nothing if no episode has ended.
        x_label: What runs to the right.
        y_label: What runs upwards.
        title: Stands above.
    """
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.set_title(title)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.locator_params(axis="x", nbins=6)
    if not axes.has_data():
        axes.set_xticks([])
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no episode ended", ha="center", va="center", transform=axes.transAxes)


def moving_average_window(n_episodes: int) -> int:
    """Episodes to average over: a tenth of all, at most 100.

    Args:
        n_episodes: Number of all episodes.

    Returns:
        The window, at least 1.
    """
    return max(1, min(100, n_episodes // 10))
