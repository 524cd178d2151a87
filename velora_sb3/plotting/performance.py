"""How training goes, in one picture: returns, lengths, and the value of a portfolio."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from velora_sb3.plotting.learning_curves import draw_returns, finish_axes, new_figure, save_whole

if TYPE_CHECKING:
    import pandas as pd


def plot_performance(
    target: Path | BinaryIO, episodes: pd.DataFrame, title: str = "", *, window: int | None = None
) -> None:
    """Draw episodes of training: their returns and lengths, and if they have values, these too.

    Args:
        target: The picture to write, ``.png``, ``.svg`` or ``.pdf``; or an open file, which gets a PNG.
        episodes: One row for each: ``timesteps`` at its end, ``return``, ``length``; ``value`` at its end, NaN or no
            such column where there is none.
        title: Stands above the picture.
        window: Number of the latest episodes over which returns are averaged; None for a tenth of all, at most 100.
    """
    has_values = "value" in episodes and bool(episodes["value"].notna().any())
    n_panels = 3 if has_values else 2
    figure = new_figure(8, 2.7 * n_panels)
    figure.suptitle(title)
    axes = figure.add_subplot(n_panels, 1, 1)
    draw_returns(axes, episodes, window)
    finish_axes(axes, "", "episode return", "")
    for number, (column, label) in enumerate(
        [("length", "episode length"), ("value", "value at the end")][: n_panels - 1]
    ):
        below = figure.add_subplot(n_panels, 1, number + 2, sharex=axes)
        if len(episodes):
            below.plot(episodes["timesteps"], episodes[column], ".-", color="tab:green", markersize=3, linewidth=0.6)
        finish_axes(below, "timesteps" if number == n_panels - 2 else "", label, "")
    save_whole(figure, target)
