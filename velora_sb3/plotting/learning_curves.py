"""Learning curves of many runs: one line per group, with a confidence band."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from velora_sb3._statistics import bootstrap_band, interquartile_means
from velora_sb3._validation import check_choice, check_integer
from velora_sb3.plotting.figures import COLORS, GREY, LINE_STYLES, new_figure, style_training
from velora_sb3.plotting.learning_curve import moving_average_window

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"
X_AXES = {"timesteps": "timesteps", "episodes": "episodes", "seconds": "training time (s)"}
X_COLUMNS = {"timesteps": "timesteps", "episodes": "episode", "seconds": "seconds"}
EXTEND = 0.05  # of the x-axis, as runs of equal length do not start and end at the same step
MAX_POINTS = 2_000  # per line; more than a figure has pixels
BAND_POINTS = 200  # one bootstrap each
MAX_NAMES = 15  # in a legend; more do not fit into a panel
BAND = "95 % bootstrap interval"


def learning_curves(
    episodes: pd.DataFrame,
    *,
    x: str = "timesteps",
    smooth: int | None = None,
    group_by: str | Sequence[str] = ("algorithm", "env"),
) -> Figure:
    """Plot the smoothed returns of runs, with one panel per environment and one line per group.

    A group's line is the interquartile mean over its runs, and the band its 95 % bootstrap interval. For two or three
    runs, these are the mean and the range. Where some of a group's runs have ended, the remaining runs continue as a
    dotted line.

    Args:
        episodes: What ``load_metrics`` or :func:`velora_sb3.plotting.read_runs` returns.
        x: The x-axis: ``timesteps``, ``episodes`` or ``seconds`` of training.
        smooth: Window of the moving average, in episodes; None for a tenth of the episodes of the environment's median
            run, at most 100.
        group_by: Columns, or one, whose values the runs of a group share; the environment is always one of them.

    Returns:
        The figure.

    Raises:
        ValueError: If ``x`` or ``smooth`` is out of range, or ``group_by`` names no column.
        ImportError: If matplotlib is not installed.

    References:
        Agarwal et al. (2021), "Deep Reinforcement Learning at the Edge of the Statistical Precipice", NeurIPS,
        https://arxiv.org/abs/2108.13264.
    """
    x = check_choice("x", x, X_AXES)
    smooth = None if smooth is None else check_integer("smooth", smooth)
    columns = [group_by] if isinstance(group_by, str) else list(group_by)
    columns = [check_choice("group_by", column, list(episodes.columns)) for column in columns]
    labels = _labels(episodes, [column for column in columns if column != "env"])
    names = sorted(labels.unique())
    looks = {
        name: (COLORS[number % len(COLORS)], LINE_STYLES[number // len(COLORS) % len(LINE_STYLES)])
        for number, name in enumerate(names)
    }
    envs = sorted(episodes["env"].unique()) or [""]
    n_wide = 1 if len(envs) == 1 else 2
    n_high = -(-len(envs) // n_wide)
    figure = new_figure(8 if n_wide == 1 else 12, 4.5 if n_high == 1 else 3.8 * n_high)
    for number, env in enumerate(envs):
        axes = figure.add_subplot(n_high, n_wide, number + 1)
        here = episodes[episodes["env"] == env]
        window = smooth or _window(here)
        if here["run_id"].nunique() == 1 and window > 1:
            points = here[X_COLUMNS[x]], here["return"]
            axes.plot(*points, ".", color=GREY, alpha=0.7, markersize=3, label="episodes", zorder=1)
        notes: dict[str, Artist] = {}
        for name in names:
            group = here[labels[here.index] == name]
            if len(group):
                notes |= _draw(axes, name, group, X_COLUMNS[x], window, looks[name])
        handles, texts = axes.get_legend_handles_labels()
        if handles:
            if len(handles) > MAX_NAMES:
                (blank,) = axes.plot([], [], linestyle="none")
                notes = {f"and {len(handles) - MAX_NAMES} more": blank, **notes}
            entries = [*handles[:MAX_NAMES], *notes.values()]
            axes.legend(entries, [*texts[:MAX_NAMES], *notes], frameon=False, loc="best", fontsize="small")
        y_label = "episode return" if window == 1 else f"episode return (mean of last {window})"
        style_training(axes, X_AXES[x], y_label, env)
    return figure


def over_runs(curves: Sequence[tuple[Array, Array]]) -> tuple[Array, Array, Array]:
    """Interpolate the curves of several runs at the same points.

    Args:
        curves: The points of each run, ascending and at least one, and its values there.

    Returns:
        The points ``(P,)``, ascending; the values ``(R, P)``, interpolated linearly, extended by a twentieth of the
        x-axis before a run's first and after its last point, NaN beyond; the number of runs at each point ``(P,)``.
    """
    places = np.unique(np.concatenate([where for where, _ in curves]))
    if len(places) > MAX_POINTS:
        places = places[np.linspace(0, len(places) - 1, MAX_POINTS).astype(int)]
    values = np.stack([np.interp(places, *curve) for curve in curves])
    extension = EXTEND * (places[-1] - places[0])
    for value, (where, _) in zip(values, curves, strict=True):
        value[(places < where[0] - extension) | (places > where[-1] + extension)] = np.nan
    return places, values, (~np.isnan(values)).sum(axis=0)


def _window(episodes: pd.DataFrame) -> int:
    """The default window of the moving average."""
    return moving_average_window(int(episodes.groupby("run_id").size().median()) if len(episodes) else 0)


def _labels(episodes: pd.DataFrame, columns: list[str]) -> pd.Series[str]:
    """The name of each episode's group within its environment."""
    label = episodes["env"].map(lambda _: "")
    for column in columns:
        prefix = "" if column in ("algorithm", "run") else f"{column} "
        label = label + ", " + prefix + episodes[column].astype("string").fillna("none")
    return label.str.removeprefix(", ").replace("", "all")


def _draw(axes: Axes, name: str, group: pd.DataFrame, x: str, window: int, look: tuple[str, str]) -> dict[str, Artist]:
    """Draw a group's line and band; return the legend's further entries."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    curves = [curve for _, run in group.groupby("run_id") if len((curve := _curve(run, x, window))[0])]
    if not curves:  # all returns are NaN
        return {}
    color, style = look
    places, values, known = over_runs(curves)
    label = f"{name} ({len(curves)} run{'s' if len(curves) > 1 else ''})"
    middle, low, high = _middle_and_band(values)
    if max(len(where) for where, _ in curves) == 1:  # a line needs two points
        axes.plot(places, middle, "o", color=color, label=label)
        return {}
    whole = np.where(known == len(curves), middle, np.nan)
    axes.plot(places, whole, linestyle=style, color=color, linewidth=1.6, label=label, zorder=3)
    notes: dict[str, Artist] = {}
    if len(curves) > 1:
        axes.fill_between(places, low, high, color=color, alpha=0.18, linewidth=0, zorder=2)
        notes[BAND] = Patch(color="0.5", alpha=0.3, linewidth=0)
    if (known < len(curves)).any():
        axes.plot(places, middle, ":", color=color, linewidth=1.2, zorder=2.5)
        notes["dotted: some runs have ended"] = Line2D([], [], color=GREY, linestyle=":")
    return notes


def _middle_and_band(values: Array) -> tuple[Array, Array, Array]:
    """Interquartile mean over the runs ``(R, P)`` known at each point, and its bootstrap interval, each ``(P,)``."""
    middle, low, high = np.full((3, values.shape[1]), np.nan)
    known = ~np.isnan(values)
    for pattern in np.unique(known.T, axis=0):
        places = np.flatnonzero((pattern == known.T).all(axis=1))
        if pattern.any():
            here = values[pattern][:, places]
            middle[places] = interquartile_means(here.T)
            some = np.unique(np.linspace(0, len(places) - 1, min(len(places), BAND_POINTS)).astype(int))
            ends = bootstrap_band(here[:, some])
            low[places], high[places] = (np.interp(places, places[some], end) for end in ends)
    return middle, low, high


def _curve(run: pd.DataFrame, x: str, window: int) -> tuple[Array, Array]:
    """The points and values of a run's smoothed return; of several values at one point, the last."""
    smoothed = run["return"].rolling(window, min_periods=1).mean()
    known = smoothed.groupby(run[x]).last().dropna()
    return known.index.to_numpy(dtype=float), known.to_numpy(dtype=float)
