"""What all plots share: figures, files, axes, and colors for color-blind readers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from velora_sb3._atomic import atomic_write
from velora_sb3._optional import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito (2008), "Color Universal Design", https://jfly.uni-koeln.de/color/, ordered so that neighbors differ
# most; without black and yellow, which vanish on dark and on light pages.
BLUE, ORANGE, GREEN, PURPLE, SKY, AMBER = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"
COLORS = (BLUE, ORANGE, GREEN, PURPLE, SKY, AMBER)
LINE_STYLES = ("-", "--", "-.")  # once the colors are used up
GREY = "#8c8c8c"


def new_figure(width: float, height: float, title: str = "") -> Figure:
    """A figure, in inches, outside of pyplot, which keeps its figures alive and may look for a display."""
    require("plot", "plotting")
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from velora_sb3.plotting.notebook_figure import NotebookFigure

    figure = NotebookFigure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    if title:
        figure.suptitle(title)
    return figure


def save_figure(figure: Figure, target: Path | BinaryIO) -> None:
    """Write a figure; a file is complete or absent, even if the program dies."""
    if not isinstance(target, Path):
        figure.savefig(target, format="png")
        return
    with atomic_write(target) as partial:
        figure.savefig(partial)


def style(axes: Axes, x_label: str, y_label: str, title: str = "") -> None:
    """Set labels, a light grid and no frame."""
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    if title:
        axes.set_title(title)
    axes.grid(color=GREY, alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def style_training(axes: Axes, x_label: str, y_label: str, title: str) -> None:
    """Style axes of a number over training."""
    style(axes, x_label, y_label, title)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axes.locator_params(axis="x", nbins=6)
    if not axes.has_data():
        axes.set_xticks([])
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no finished episodes", ha="center", va="center", transform=axes.transAxes)
