"""What a sweep leaves: a table, ``best.json`` and pictures."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from velora_sb3._atomic import write_text
from velora_sb3._statistics import interquartile_mean
from velora_sb3.cli.tables import plain_table, print_line
from velora_sb3.plotting.figures import save_figure
from velora_sb3.plotting.learning_curve import curves_unavailable_reason
from velora_sb3.tune.results import FAILED, FINISHED, OUT_OF_TIME, STOPPED, Results, Trial

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from velora_sb3.cli.sweep.sweep_file import Sweep

SWEEP_FILE, DATABASE, BEST_FILE = "sweep.json", "sweep.db", "best.json"  # in the directory of a sweep
SHOWN = 20  # trials in the table


def write_outcome(sweep: Sweep, results: Results, directory: Path) -> None:
    """Write ``best.json`` and the pictures."""
    trials = [trial for trial in results.trials() if trial.score is not None]
    if not trials:
        return
    best = sweep.config(trials[0].settings)
    best.checkpoint_every, best.video = best.eval_freq, True
    write_text(directory / BEST_FILE, json.dumps(asdict(best), indent=2) + "\n")
    if curves_unavailable_reason() is None:
        save_figure(draw_curves(trials), directory / "learning_curves.png")
        save_figure(draw_parallel_coordinates(trials), directory / "parallel_coordinates.png")


def trial_rows(trials: list[Trial]) -> list[tuple[str, ...]]:
    """Cells of the table: number, score with its interval, steps, status and settings."""
    return [
        (
            str(trial.number),
            "" if trial.score is None else f"{trial.score:,.1f} [{trial.low:,.1f}, {trial.high:,.1f}]",
            f"{trial.timesteps:,}",
            trial.status,
            in_words(trial.settings),
        )
        for trial in trials
    ]


def by_status(trials: list[Trial]) -> dict[str, int]:
    """How many trials have ended in each way."""
    ways = (FINISHED, STOPPED, OUT_OF_TIME, FAILED)
    return {status: sum(trial.status == status for trial in trials) for status in ways}


def in_words(settings: Mapping[str, Any]) -> str:
    """Settings in a line."""
    numbers = {name: f"{value:.4g}" if isinstance(value, float) else str(value) for name, value in settings.items()}
    return ", ".join(f"{name} {value}" for name, value in numbers.items())


COLUMNS = ("trial", "score [95 %]", "steps", "status", "settings")


def print_results(
    console: Console, sweep: Sweep, results: Results, shown: Path, interrupted: bool, command: str
) -> None:
    """Print the table, and what to do next."""
    trials = results.trials()
    counts = by_status(trials)
    counted = ", ".join(f"{count} {status}" for status, count in counts.items() if count or status == FINISHED)
    console.print()
    if interrupted:
        heading = "[bold yellow]interrupted[/]"
    elif trials and counts[FAILED] == len(trials):
        heading = "[bold red]failed[/]"
    elif counts[OUT_OF_TIME] or len(trials) < sweep.file.trials:
        heading = "[bold yellow]time limit reached[/]"
    else:
        heading = "[bold green]done[/]"
    console.print(f"{heading}: {len(trials)} trials, {counted}")
    table = plain_table(*COLUMNS)
    for row in trial_rows(trials)[:SHOWN]:
        table.add_row(*row)
    console.print(table)
    if len(trials) > SHOWN:
        print_line(console, f"... and {len(trials) - SHOWN} more in {shown / DATABASE}")
    for trial in [trial for trial in trials if trial.error is not None][:3]:
        print_line(console, f"trial {trial.number} failed: {' '.join((trial.error or '').split())[:200]}")
    if interrupted:
        print_line(console, f"resume it:   {command}")
    if (shown / BEST_FILE).exists():
        print_line(console, f"train the best: velora-sb3 train --config {shlex.quote(str(shown / BEST_FILE))}")
        print_line(console, f"write a page:   velora-sb3 report {shlex.quote(str(shown))}")


def draw_curves(trials: list[Trial]) -> Figure:
    """The interquartile mean of each trial's seeds over timesteps; the best in front."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for rank, trial in reversed(list(enumerate(trials))):
        steps, scores = [step for step, _ in trial.curve], [interquartile_mean(returns) for _, returns in trial.curve]
        look: dict[str, Any] = (
            {"color": "C0", "linewidth": 2, "label": f"trial {trial.number}, the best"}
            if rank == 0
            else {"color": "0.6", "linewidth": 0.8}
        )
        axes.plot(steps, scores, **look)
    axes.set_xlabel("timesteps")
    axes.set_ylabel("mean return, interquartile mean of seeds")
    axes.legend()
    return figure


def draw_parallel_coordinates(trials: list[Trial]) -> Figure:
    """A line for each trial through its settings and its score, coloured by the score."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    names = [*trials[0].settings, "score"]
    columns = [[{**trial.settings, "score": trial.score}[name] for trial in trials] for name in names]
    figure = Figure(figsize=(1.6 * max(len(names), 4), 4.5), layout="constrained")
    axes = figure.add_subplot()
    places = np.array([_places(column) for column in columns])  # (names, trials)
    for place, rank in sorted(zip(places.T.tolist(), places[-1].tolist(), strict=True), key=lambda pair: pair[1]):
        axes.plot(range(len(names)), place, color=colormaps["viridis"](rank), alpha=0.8)
    for x, column in enumerate(columns):
        axes.axvline(x, color="0.3", linewidth=0.8)
        for value, y in {
            str(_label(value)): y for value, y in zip(column, _places(column), strict=True) if _shown(column, value)
        }.items():
            axes.text(x, y, f" {value}", fontsize=8, va="center")
    axes.set_xticks(range(len(names)), names, rotation=20, ha="right")
    axes.set_yticks([])
    axes.margins(x=0.12)
    return figure


def _is_numeric(column: list[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in column)


def _places(column: list[Any]) -> list[float]:
    """Values of an axis from 0 to 1; logarithmic if they span orders of magnitude, evenly if they are words."""
    if not _is_numeric(column):
        words = sorted({str(value) for value in column})
        return [words.index(str(value)) / max(len(words) - 1, 1) for value in column]
    numbers = np.array(column, dtype=float)
    if numbers.min() > 0 and numbers.max() / numbers.min() > 30:
        numbers = np.log(numbers)
    span = float(np.ptp(numbers)) or 1.0
    return [float(value) for value in (numbers - numbers.min()) / span]


def _shown(column: list[Any], value: Any) -> bool:
    return not _is_numeric(column) or value in (min(column), max(column)) or len(set(column)) <= 5


def _label(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
