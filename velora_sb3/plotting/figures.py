"""What all pictures have in common: how they are made, and colours that everybody can tell apart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from velora_sb3._atomic import atomic_write
from velora_sb3._optional import install_line, missing_modules

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito (2008), "Color Universal Design", https://jfly.uni-koeln.de/color/, in an order in which neighbours
# differ most; without their black and yellow, which vanish on a dark or a light page.
BLUE, ORANGE, GREEN, PURPLE, SKY, AMBER = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"
COLORS = (BLUE, ORANGE, GREEN, PURPLE, SKY, AMBER)
LINE_STYLES = ("-", "--", "-.")  # once the colours are used up
GREY = "#8c8c8c"


def new_figure(width: float, height: float) -> Figure:
    """A figure that nobody else knows of: pyplot keeps its figures alive and may look for a display."""
    if missing_modules("plot"):
        raise ImportError(f"pictures need matplotlib: {install_line('plot')}")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_whole(figure: Figure, target: Path | BinaryIO) -> None:
    """Write a picture; a file is complete or absent, even if the program dies."""
    if not isinstance(target, Path):
        figure.savefig(target, format="png")
        return
    with atomic_write(target) as partial:
        figure.savefig(partial)


def tidy(axes: Axes, x_label: str, y_label: str, title: str = "") -> None:
    """Labels, a light grid and no frame."""
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    if title:
        axes.set_title(title)
    axes.grid(color=GREY, alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def tidy_returns(axes: Axes, x_label: str, y_label: str, title: str) -> None:
    """The same for returns over training."""
    tidy(axes, x_label, y_label, title)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axes.locator_params(axis="x", nbins=6)
    if not axes.has_data():
        axes.set_xticks([])
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no episode ended", ha="center", va="center", transform=axes.transAxes)
