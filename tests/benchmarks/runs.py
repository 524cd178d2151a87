"""Learning runs, one line of a JSON-lines file each; what the file holds already is not run again."""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.statistics import bootstrap_interval, interquartile_mean

Job = tuple[str, str, int]  # candidate, task, seed


def parse_arguments(description: str | None, candidates: Sequence[str], tasks: Sequence[str], out: str) -> Any:
    """The options that learning benchmarks share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path(out))
    parser.add_argument("--only", nargs="*", choices=list(candidates), default=list(candidates))
    parser.add_argument("--tasks", nargs="*", choices=list(tasks), default=list(tasks))
    return parser.parse_args()


def run_missing(run: Callable[[Job], dict[str, Any]], jobs: Sequence[Job], out: Path, processes: int) -> list[Any]:
    """Run the jobs that the file does not hold, and append them.

    Args:
        run: Runs one job; its result holds ``candidate``, ``task``, ``seed`` and ``return``.
        jobs: The jobs.
        out: The file.
        processes: How many run side by side.

    Returns:
        Every line of the file.
    """
    rows = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    done = {(row["candidate"], row["task"], row["seed"]) for row in rows}
    missing = [job for job in jobs if job not in done]
    with multiprocessing.get_context("spawn").Pool(processes) as pool, out.open("a") as file:
        for number, row in enumerate(pool.imap_unordered(run, missing), start=1):
            rows.append(row)
            file.write(json.dumps(row) + "\n")
            file.flush()
            print(f"{number}/{len(missing)} {row['candidate']} | {row['task']} | {row['seed']}: {row['return']:.1f}")
    return rows


def table(rows: Sequence[dict[str, Any]], candidates: Sequence[str], tasks: Sequence[str]) -> str:
    """A Markdown table: interquartile mean, 95 % interval, worst seed, number of seeds."""
    scores: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows:
        scores[row["candidate"], row["task"]].append(row["return"])
    lines = ["| | " + " | ".join(tasks) + " |", "|---" * (len(tasks) + 1) + "|"]
    for candidate in candidates:
        cells = [_cell(scores.get((candidate, task), [])) for task in tasks]
        if any(cells):
            lines.append(f"| {candidate} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(values: list[float]) -> str:
    if not values:
        return ""
    low, high = bootstrap_interval(values)
    seeds = "" if len(values) == 5 else f", {len(values)} seeds"
    return f"{interquartile_mean(values):.0f} ({low:.0f} to {high:.0f}), worst {min(values):.0f}{seeds}"
