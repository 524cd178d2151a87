"""The page of a sweep for ``velora-sb3 report``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from velora_sb3._optional import install_line, missing_modules
from velora_sb3.cli.report.page import Page
from velora_sb3.cli.sweep.outcome import (
    COLUMNS,
    DATABASE,
    SWEEP_FILE,
    by_status,
    draw_curves,
    draw_parallel_coordinates,
    in_words,
    trial_rows,
)
from velora_sb3.tune.results import Results


def is_sweep(directory: Path) -> bool:
    """Whether a directory is that of a sweep with results."""
    return (directory / SWEEP_FILE).is_file() and (directory / DATABASE).is_file()


def sweep_page(directory: Path) -> Page:
    """Build the page."""
    settings: dict[str, Any] = json.loads((directory / SWEEP_FILE).read_text(encoding="utf-8"))
    results = Results(directory / DATABASE)
    trials = results.trials()
    page = Page(f"Sweep of {settings['algo']} on {settings['env']}", f"Sweep directory {directory.name}")
    page.facts = [("trials", str(len(trials)), f"of {settings['trials']}, {settings['seeds']} seeds each")]
    page.facts += [(status, str(count), "trials") for status, count in by_status(trials).items()]
    page.section("Trials")
    page.text("The score is the interquartile mean over a trial's seeds, with its 95% bootstrap interval.")
    page.table(trial_rows(trials), COLUMNS)
    scored = [trial for trial in trials if trial.score is not None]
    if not scored:
        page.lacks("No trial has evaluated yet.")
    elif missing_modules("plot"):
        page.lacks(f"No pictures: {install_line('plot')}")
    else:
        page.section("Learning")
        page.plot(draw_curves(scored), "Evaluations of all trials: interquartile mean of the seeds.")
        page.section("Settings")
        page.plot(draw_parallel_coordinates(scored), "Settings and score of each trial; brighter is better.")
    numbers = {trial.id: str(trial.number) for trial in trials}
    if lineage := results.lineage():
        page.section("Lineage")
        page.text("Trials that continued from the checkpoint of a better one, with perturbed settings.")
        rows = [
            (f"{one.timesteps:,}", numbers[one.trial], numbers[one.parent], in_words(one.before), in_words(one.after))
            for one in lineage
        ]
        page.table(rows, ("steps", "trial", "continues", "settings before", "and after"))
    if failed := [trial for trial in trials if trial.error is not None]:
        page.section("Failures")
        page.table([(str(trial.number), str(trial.error)) for trial in failed], ("trial", "error"))
    page.section("Sweep file")
    page.table([(name, str(value)) for name, value in settings.items() if value is not None])
    return page
