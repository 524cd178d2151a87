"""Learning curves of many runs: one line for each group, with a band over its runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from velora_sb3._statistics import bootstrap_band, interquartile_means
from velora_sb3.plotting.figures import COLORS, GREY, LINE_STYLES, new_figure, tidy_returns
from velora_sb3.plotting.learning_curve import moving_average_window

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"
X_AXES = {"timesteps": "timesteps", "episodes": "episodes", "seconds": "training time in seconds"}
X_COLUMNS = {"timesteps": "timesteps", "episodes": "episode", "seconds": "seconds"}
HOLD = 0.05  # of the way: runs of one length do not end their first and last episodes at the same step
MOST_POINTS = 2_000  # on a line; more than a picture is wide
BAND_POINTS = 200  # every one of them is a bootstrap
BAND = "band: 95 % bootstrap interval"


def learning_curves(
    episodes: pd.DataFrame,
    *,
    x: str = "timesteps",
    smooth: int | None = None,
    group_by: Sequence[str] = ("algorithm", "env"),
) -> Figure:
    """Draw the smoothed returns of runs, one panel for each environment and in it one line for each group.

    A group's line is the interquartile mean over its runs, the band its 95 % bootstrap interval. Of two or three runs
    they are the mean, and all from the lowest to the highest run. Where some of a group's runs have ended, both are
    over those that go on, and the line is dotted.

    Args:
        episodes: What ``load_metrics`` or :func:`velora_sb3.plotting.read_runs` returns.
        x: What runs to the right: ``timesteps``, ``episodes`` or ``seconds`` of training.
        smooth: Number of the latest episodes over which each run's return is averaged; None for a tenth of a run's
            episodes, the median run's in the environment, at most 100.
        group_by: Columns that runs of one group share. The environment always is one.

    Returns:
        The figure.

    Raises:
        ImportError: If matplotlib is not installed.

    References:
        Agarwal et al. (2021), "Deep Reinforcement Learning at the Edge of the Statistical Precipice", NeurIPS,
        https://arxiv.org/abs/2108.13264.
    """
    labels = _labels(episodes, [column for column in group_by if column != "env"])
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
            axes.legend([*handles, *notes.values()], [*texts, *notes], frameon=False, loc="best", fontsize="small")
        y_label = "episode return" if window == 1 else f"episode return, mean of the last {window}"
        tidy_returns(axes, X_AXES[x], y_label, env)
    return figure


def over_runs(curves: Sequence[tuple[Array, Array]]) -> tuple[Array, Array, Array]:
    """Bring the curves of several runs to the same places.

    Args:
        curves: For each run where its curve is known, at least one place, ascending, and its values there.

    Returns:
        The places ``(P,)``, ascending; the values ``(R, P)``, straight between known ones, held for a twentieth of the
        way before a run's first and after its last, NaN beyond; the number of runs known at each place ``(P,)``.
    """
    places = np.unique(np.concatenate([where for where, _ in curves]))
    if len(places) > MOST_POINTS:
        places = places[np.linspace(0, len(places) - 1, MOST_POINTS).astype(int)]
    values = np.stack([np.interp(places, *curve) for curve in curves])
    hold = HOLD * (places[-1] - places[0])
    for value, (where, _) in zip(values, curves, strict=True):
        value[(places < where[0] - hold) | (places > where[-1] + hold)] = np.nan
    return places, values, (~np.isnan(values)).sum(axis=0)


def _window(episodes: pd.DataFrame) -> int:
    """The moving average's window if none is asked for."""
    return moving_average_window(int(episodes.groupby("run_id").size().median()) if len(episodes) else 0)


def _labels(episodes: pd.DataFrame, columns: list[str]) -> pd.Series[str]:
    """The name of each episode's group within its environment."""
    label = episodes["env"].map(lambda _: "")
    for column in columns:
        said = "" if column in ("algorithm", "run") else f"{column} "
        label = label + ", " + said + episodes[column].astype("string").fillna("none")
    return label.str.removeprefix(", ").replace("", "all")


def _draw(axes: Axes, name: str, group: pd.DataFrame, x: str, window: int, look: tuple[str, str]) -> dict[str, Artist]:
    """Draw a group's line and band; what has to be explained beside them, by its explanation."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    curves = [curve for _, run in group.groupby("run_id") if len((curve := _curve(run, x, window))[0])]
    if not curves:  # no return was a number
        return {}
    color, style = look
    places, values, known = over_runs(curves)
    label = f"{name} ({len(curves)} run{'s' if len(curves) > 1 else ''})"
    middle, low, high = _middle_and_band(values)
    if max(len(where) for where, _ in curves) == 1:  # there is no line yet
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
        notes["dotted: not all of the runs"] = Line2D([], [], color=GREY, linestyle=":")
    return notes


def _middle_and_band(values: Array) -> tuple[Array, Array, Array]:
    """Interquartile mean over the runs ``(R, P)`` known at each place, and its bootstrap interval, each ``(P,)``."""
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
    """Where a run's smoothed return is known, and the return there; the last of several at one place."""
    smoothed = run["return"].rolling(window, min_periods=1).mean()
    known = smoothed.groupby(run[x]).last().dropna()
    return known.index.to_numpy(dtype=float), known.to_numpy(dtype=float)
