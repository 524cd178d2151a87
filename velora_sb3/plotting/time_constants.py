"""The time constants of a network's units over an episode."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from velora_sb3.plotting.episode_trace import EpisodeTrace
from velora_sb3.plotting.figures import BLUE, ORANGE, new_figure, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = (0.5, 99.5)  # percentiles, as the time constant of a gate that hardly opens is unbounded


def time_constants(trace: EpisodeTrace, title: str = "") -> Figure:
    r"""Plot the distribution of the units' time constants over the steps of an episode.

    Left: each unit, sorted by its median, with percentiles over the steps. Right: all units and steps together. The
    formulas, in :mod:`velora_sb3.cells.time_constants`: an LTC's liquid
    time constant :math:`\tau_i = c_i / B_i`, a CfC's effective time of its gate,
    :math:`\tau_i = t / \mathrm{softplus}(s_i + a_i (t - 1))`, and :math:`1 / (|w_{\tau,i}| + |f_i|)` in ``pure`` mode.

    Args:
        trace: The episode, from :func:`velora_sb3.plotting.trace_episode`.
        title: Title of the figure.

    Returns:
        The figure.

    Raises:
        ValueError: If the model has no CfC, LTC or LRC cell, or every timespan is 0.
        ImportError: If matplotlib is not installed.

    References:
        Hasani et al. (2021), "Liquid Time-constant Networks", https://arxiv.org/abs/2006.04439, equation 3.
        Hasani et al. (2022), "Closed-form continuous-time neural networks", https://arxiv.org/abs/2106.13898,
        equations 2 and 10.
    """
    values = trace.time_constants
    if values.size == 0:
        raise ValueError("the model has no CfC, LTC or LRC cell, so there are no time constants to plot")
    values = values[(values > 0).all(axis=1)]  # a CfC's gate has none in a timespan of 0
    if len(values) == 0:
        raise ValueError("every timespan of the episode is 0, so there are no time constants to plot")
    values = np.clip(values.astype(float), *np.percentile(values, SHOWN))
    values = values[:, np.argsort(np.median(values, axis=0), kind="stable")]
    low, first, middle, third, high = np.percentile(values, [5, 25, 50, 75, 95], axis=0)
    figure = new_figure(8, 3.4, title)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[3, 1])
    units = np.arange(1, values.shape[1] + 1)
    left.vlines(units, low, high, color=BLUE, linewidth=1, alpha=0.6, label="5th to 95th percentile")
    left.vlines(units, first, third, color=BLUE, linewidth=3, alpha=0.6, label="25th to 75th percentile")
    left.plot(units, middle, "o", color=ORANGE, markersize=3, label="median")
    left.set_yscale("log")
    unit = "environment time" if trace.timed else "steps"
    style(left, "units, fastest first", f"time constant ({unit})")
    left.legend(frameon=False, loc="upper left", fontsize="small")
    bins = np.geomspace(values.min(), values.max(), 31) if values.min() < values.max() else 1
    weights = np.full(values.size, 100 / values.size)
    right.hist(values.ravel(), bins=bins, weights=weights, orientation="horizontal", color=BLUE, alpha=0.6)
    style(right, "% of values", "")
    few = values.max() / values.min() < 10  # else the labels between the powers of ten do not fit
    for axes in (left, right):
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
        axes.yaxis.set_minor_formatter(lambda value, _: f"{value:,.6g}" if few else "")
        axes.tick_params(which="minor", labelsize="small")
    if not trace.timed and values.min() < 1 < values.max():
        for axes in (left, right):
            axes.axhline(1, color="0.5", linestyle=":", linewidth=1)
    return figure
