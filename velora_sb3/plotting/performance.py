"""How training goes, in one picture: returns, lengths, and the value of a portfolio."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from velora_sb3.plotting.figures import new_figure, save_whole, tidy_returns
from velora_sb3.plotting.learning_curve import draw_episodes

if TYPE_CHECKING:
    import pandas as pd


def plot_performance(
    target: Path | BinaryIO, episodes: pd.DataFrame, title: str = "", *, window: int | None = None
) -> None:
    """Draw episodes of training: their returns and lengths, and if they have values, these too."""
    panels = {"return": "episode return", "length": "episode length"}
    if "value" in episodes and episodes["value"].notna().any():
        panels["value"] = "value at the end"
    figure = new_figure(8, 2.7 * len(panels))
    figure.suptitle(title)
    above = None
    for number, (column, label) in enumerate(panels.items()):
        axes = figure.add_subplot(len(panels), 1, number + 1, sharex=above)
        draw_episodes(axes, episodes, column, window)
        tidy_returns(axes, "timesteps" if number == len(panels) - 1 else "", label, "")
        if above is None and len(episodes):
            axes.legend(frameon=False, loc="best")
        above = axes
    save_whole(figure, target)
