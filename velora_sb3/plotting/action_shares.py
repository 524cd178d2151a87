"""How often a policy took which actions, counted while it acted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from velora_sb3.plotting.figures import BLUE, new_figure, save_whole, tidy

MOST_PANELS = 12
MOST_LABELS = 16


def plot_action_shares(
    path: Path,
    histograms: Sequence[tuple[str, np.ndarray, np.ndarray]],
    title: str = "",
    *,
    choices: Sequence[str] | None = None,
) -> None:
    """Draw the histogram of each dimension of actions, of the first twelve if there are more.

    Args:
        path: The picture to write, ``.png``, ``.svg`` or ``.pdf``.
        histograms: For each dimension its name, where its bars begin and end ``(bars + 1,)``, the share of each
            ``(bars,)``.
        title: Stands above the picture.
        choices: What the bars are called, if they are choices of one dimension.
    """
    shown = histograms[:MOST_PANELS]
    n_wide = min(len(shown), 4)
    n_high = -(-len(shown) // n_wide)
    figure = new_figure(6 if n_wide == 1 else 3.2 * n_wide, 4 if n_high == 1 else 2.6 * n_high)
    more = f" (the first {MOST_PANELS} of {len(histograms)} dimensions)" if len(histograms) > MOST_PANELS else ""
    figure.suptitle(f"{title}{more}")
    for number, (name, edges, shares) in enumerate(shown):
        axes = figure.add_subplot(n_high, n_wide, number + 1)
        middles = (edges[:-1] + edges[1:]) / 2
        axes.bar(middles, shares, np.diff(edges) * 0.9, color=BLUE)
        if choices is not None and len(choices) <= MOST_LABELS:
            axes.set_xticks(middles, choices)
        axes.set_xlim(edges[0], edges[-1])
        label = name if choices is not None or name == "action" else f"action {name}"
        tidy(axes, label, "share of steps" if number % n_wide == 0 else "")
    save_whole(figure, path)
