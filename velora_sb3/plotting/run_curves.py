"""Learning curves of many runs: one line for each group, with a band over its runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from velora_sb3.plotting.learning_curves import finish_axes, moving_average_window, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"
X_AXES = {"timesteps": "timesteps", "episodes": "episodes", "seconds": "training time in seconds"}
X_COLUMNS = {"timesteps": "timesteps", "episodes": "episode", "seconds": "seconds"}
HOLD = 0.05  # of the way: runs of one length do not end their first and last episodes at the same step
MOST_POINTS = 2_000  # on a line; more than a picture is wide


def plot_runs(
    path: Path,
    episodes: pd.DataFrame,
    *,
    x: str = "timesteps",
    smooth: int | None = None,
    group_by: Sequence[str] = ("algorithm", "env"),
) -> None:
    """Draw the smoothed returns of runs, one panel for each environment and in it one line for each group.

    A group's line is the mean over its runs, the band goes from its lowest to its highest run. Where some of its runs
    have ended, both are over those that go on, and the line is dotted.

    Args:
        path: The picture to write, ``.png``, ``.svg`` or ``.pdf``.
        episodes: What ``load_metrics`` returns.
        x: What runs to the right: ``timesteps``, ``episodes`` or ``seconds`` of training.
        smooth: Number of the latest episodes over which each run's return is averaged; None for a tenth of a run's
            episodes, the median run's in the environment, at most 100.
        group_by: Columns that runs of one group share. The environment always is one.
    """
    labels = _labels(episodes, [column for column in group_by if column != "env"])
    names = sorted(labels.unique())
    colors = {name: f"C{number % 10}" for number, name in enumerate(names)}
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
            axes.plot(*points, ".", color="0.65", markersize=3, label="episodes", zorder=1)
        notes: dict[str, Artist] = {}
        for name in names:
            group = here[labels[here.index] == name]
            if len(group):
                notes |= _draw(axes, name, group, X_COLUMNS[x], window, colors[name])
        handles, texts = axes.get_legend_handles_labels()
        if handles:
            axes.legend([*handles, *notes.values()], [*texts, *notes], frameon=False, loc="best", fontsize="small")
        y_label = "episode return" if window == 1 else f"episode return, mean of the last {window}"
        finish_axes(axes, X_AXES[x], y_label, env)
    figure.savefig(path)


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


def _draw(axes: Axes, name: str, group: pd.DataFrame, x: str, window: int, color: str) -> dict[str, Artist]:
    """Draw a group's line and band; what has to be explained beside them, by its explanation."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    curves = [curve for _, run in group.groupby("run_id") if len((curve := _curve(run, x, window))[0])]
    if not curves:  # no return was a number
        return {}
    places, values, known = over_runs(curves)
    label = f"{name} ({len(curves)} run{'s' if len(curves) > 1 else ''})"
    mean = np.nanmean(values, axis=0)
    if max(len(where) for where, _ in curves) == 1:  # there is no line yet
        axes.plot(places, mean, "o", color=color, label=label)
        return {}
    axes.plot(places, np.where(known == len(curves), mean, np.nan), color=color, linewidth=1.6, label=label, zorder=3)
    notes: dict[str, Artist] = {}
    if len(curves) > 1:
        low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
        axes.fill_between(places, low, high, color=color, alpha=0.18, linewidth=0, zorder=2)
        notes["band: lowest to highest run"] = Patch(color="0.5", alpha=0.3, linewidth=0)
    if (known < len(curves)).any():
        axes.plot(places, mean, ":", color=color, linewidth=1.2, zorder=2.5)
        notes["dotted: not all of the runs"] = Line2D([], [], color="0.4", linestyle=":")
    return notes


def _curve(run: pd.DataFrame, x: str, window: int) -> tuple[Array, Array]:
    """Where a run's smoothed return is known, and the return there; the last of several at one place."""
    smoothed = run["return"].rolling(window, min_periods=1).mean()
    known = smoothed.groupby(run[x]).last().dropna()
    return known.index.to_numpy(dtype=float), known.to_numpy(dtype=float)
