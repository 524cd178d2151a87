"""Training in one figure: returns, lengths, and portfolio values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from velora_sb3.plotting.figures import new_figure, save_figure, style_training
from velora_sb3.plotting.learning_curve import draw_episodes

if TYPE_CHECKING:
    import pandas as pd


def plot_performance(
    target: Path | BinaryIO, episodes: pd.DataFrame, title: str = "", *, window: int | None = None
) -> None:
    """Plot the returns and lengths of training episodes, and their values if they have any."""
    panels = {"return": "episode return", "length": "episode length"}
    if "value" in episodes and episodes["value"].notna().any():
        panels["value"] = "final value"
    figure = new_figure(8, 2.7 * len(panels), title)
    above = None
    for number, (column, label) in enumerate(panels.items()):
        axes = figure.add_subplot(len(panels), 1, number + 1, sharex=above)
        draw_episodes(axes, episodes, column, window)
        style_training(axes, "timesteps" if number == len(panels) - 1 else "", label, "")
        if above is None and len(episodes):
            axes.legend(frameon=False, loc="best")
        above = axes
    save_figure(figure, target)
