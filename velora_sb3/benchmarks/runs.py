"""Learning runs, one line each in a JSON-lines file; runs that the file already holds are skipped."""

from __future__ import annotations

import json
import multiprocessing
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from velora_sb3._statistics import bootstrap_interval, interquartile_mean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Job = tuple[str, str, int]  # candidate, task, seed


def read_rows(out: Path) -> list[dict[str, Any]]:
    """The runs in the file; none if it does not exist. A last line that was not written to its end is left out."""
    text = out.read_text() if out.exists() else ""
    rows = []
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        try:
            row = json.loads(line)
        except ValueError as error:
            if not line.endswith("\n"):
                break
            raise ValueError(f"line {number} is not JSON") from error
        if not isinstance(row, dict) or not {"candidate", "task", "seed", "returns"} <= set(row):
            raise ValueError(f"line {number} is not a run: it must hold candidate, task, seed and returns")
        rows.append(row)
    return rows


def run_missing(run: Callable[[Job], dict[str, Any]], jobs: Sequence[Job], out: Path, processes: int) -> list[Any]:
    """Run the jobs that are not in the file, and append them. If some fail, raise ``RuntimeError`` after the others."""
    rows = read_rows(out)
    done = {(row["candidate"], row["task"], row["seed"]) for row in rows}
    missing = [job for job in jobs if job not in done]
    if not missing:
        return rows
    if out.exists() and not out.read_text().endswith("\n"):
        out.write_text("".join(map(_line, rows)))
    failures = []
    with multiprocessing.get_context("spawn").Pool(processes) as pool, out.open("a") as file:
        for number, (job, row, error) in enumerate(pool.imap_unordered(partial(_attempt, run), missing), start=1):
            candidate, task, seed = job
            if row is None:
                failures.append(f"{task} | {candidate} | seed {seed}: {error}")
                shown = f"failed: {error}"
            else:
                rows.append(row)
                file.write(_line(row))
                file.flush()
                shown = ", ".join(f"{value:.4g}" for value in row["returns"].values())
            print(f"{number}/{len(missing)} {task} | {candidate} | seed {seed}: {shown}", flush=True)
    if failures:
        raise RuntimeError(f"{len(failures)} of {len(missing)} runs failed, the others are in {out}: {failures[0]}")
    return rows


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row) + "\n"


def _attempt(run: Callable[[Job], dict[str, Any]], job: Job) -> tuple[Job, dict[str, Any] | None, str]:
    """A job with its row, or with what went wrong, which must not end the runs beside it."""
    try:
        return job, run(job), ""
    except Exception as error:
        return job, None, f"{type(error).__name__}: {error}"


def table(rows: Sequence[dict[str, Any]], candidates: Sequence[str], tasks: Sequence[str]) -> str:
    """A Markdown table: interquartile mean, 95 % interval, worst seed, number of seeds."""
    scores: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    for row in rows:
        for steps, value in row["returns"].items():
            scores[row["candidate"], row["task"], int(steps)].append(value)
    columns = [(task, steps) for task in tasks for steps in sorted({s for _, name, s in scores if name == task})]
    lines = ["| | " + " | ".join(f"{task}, {steps:,} steps" for task, steps in columns) + " |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for candidate in candidates:
        cells = [_cell(scores.get((candidate, *column), [])) for column in columns]
        if any(cells):
            lines.append(f"| {candidate} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(values: list[float]) -> str:
    if not values:
        return ""
    seeds = "" if len(values) == 5 else f", {len(values)} seed{'s' if len(values) > 1 else ''}"
    digits = 0 if max(map(abs, values)) >= 10 else 2
    numbers = interquartile_mean(values), *bootstrap_interval(values), min(values)
    mean, low, high, worst = (f"{number:.{digits}f}" for number in numbers)
    return f"{mean} ({low} to {high}), worst {worst}{seeds}"


def bars(rows: Sequence[dict[str, Any]], chosen: Mapping[str, Sequence[str]]) -> Figure:
    """A panel for each task: the interquartile mean of every candidate's last returns, its interval and its seeds.

    Args:
        rows: The runs.
        chosen: The candidates of each task, in order; those without a run are left out.

    Returns:
        The figure.
    """
    from velora_sb3.plotting.figures import BLUE, GREY, new_figure

    panels = []
    for task, candidates in chosen.items():
        last: dict[str, list[float]] = defaultdict(list)
        for row in rows:
            if row["task"] == task:
                last[row["candidate"]].append(row["returns"][max(row["returns"], key=int)])
        panels += [(task, [(name, last[name]) for name in candidates if name in last])] if last else []
    columns = min(2, max(1, len(panels)))
    heights = [2 + max(len(panel[1]) for panel in panels[i : i + columns]) for i in range(0, len(panels), columns)]
    figure = new_figure(6 * columns, 0.6 + 0.3 * sum(heights))
    grid = figure.add_gridspec(len(heights) or 1, columns, height_ratios=heights or None)
    for number, (task, results) in enumerate(panels):
        axes = figure.add_subplot(grid[number // columns, number % columns])
        for place, (_, values) in enumerate(results):
            low, high = bootstrap_interval(values)
            axes.barh(place, high - low, left=low, height=0.6, color=BLUE, alpha=0.35, linewidth=0)
            axes.plot([interquartile_mean(values)] * 2, [place - 0.3, place + 0.3], color=BLUE, linewidth=2)
            axes.plot(values, [place] * len(values), "o", color=GREY, markersize=3, alpha=0.8)
        axes.set_yticks(range(len(results)), [name for name, _ in results], fontsize=8)
        axes.invert_yaxis()
        axes.set_title(task, fontsize=10, loc="left")
        axes.set_xlabel("return: IQM (line), 95 % interval (bar), seeds (dots)", fontsize=7)
        axes.use_sticky_edges = False  # the best seeds would be cut off
        axes.margins(x=0.03, y=0.03)
        axes.tick_params(axis="x", labelsize=8)
        axes.grid(axis="x", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    return figure
