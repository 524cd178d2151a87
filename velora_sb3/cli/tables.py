"""Output of the subcommands: tables that fit in 80 columns."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from velora_sb3.checkpoints import list_checkpoints
from velora_sb3.cli.experiment.callbacks import CHECKPOINTS
from velora_sb3.cli.experiment.config import RunConfig
from velora_sb3.cli.experiment.run import Outcome
from velora_sb3.cli.saved_model import MODEL


def plain_table(*columns: str) -> Table:
    """A table without borders, as wide as its contents."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def add_returns(table: Table, returns: list[float], lengths: list[int]) -> None:
    """Add rows with returns and lengths of episodes."""
    table.add_row("return", f"{np.mean(returns):,.1f} ± {np.std(returns):,.1f} ({len(returns)} episodes)", style="bold")
    table.add_row("lowest, highest", f"{np.min(returns):,.1f}, {np.max(returns):,.1f}")
    table.add_row("episode length", f"{np.mean(lengths):,.1f} ± {np.std(lengths):,.1f} steps")


def print_summary(console: Console, config: RunConfig, directory: Path, outcome: Outcome) -> None:
    """The table at the end of a training run."""
    table = plain_table("", "")
    table.show_header = False
    heading = f"{config.algo} on {config.env}"
    console.print()
    if outcome.interrupted:
        console.print(f"[bold yellow]interrupted[/]: {heading}" + ("" if outcome.failures else "; the model is saved"))
    elif outcome.failures:
        console.print(f"[bold red]incomplete[/]: {heading}")
    else:
        console.print(f"[bold green]done[/]: {heading}")
    if outcome.returns:
        add_returns(table, outcome.returns, outcome.lengths)
    if outcome.best is not None:
        timesteps, mean = outcome.best
        table.add_row("best evaluation", f"{mean:,.1f} at step {timesteps:,}: best_model.zip")
    speed = (outcome.steps - outcome.first_step) / max(outcome.seconds, 1e-9)
    table.add_row("steps", f"{outcome.steps:,}" + (f" of {config.steps:,}" if outcome.interrupted else ""))
    table.add_row("time", f"{outcome.seconds:,.1f} s, {speed:,.0f} steps/s")
    table.add_row("seed", str(config.seed))
    table.add_row("run directory", str(directory))
    table.add_row("", ", ".join(outcome.files))
    console.print(table)
    for failure in outcome.failures:
        console.print(failure, style="red", markup=False, highlight=False)
    for note in outcome.notes:
        console.print(note, style="yellow", markup=False, highlight=False)
    first = "free some space; " if outcome.failures else ""
    if (outcome.interrupted or outcome.failures) and list_checkpoints(directory / CHECKPOINTS):
        print_line(console, f"resume it:   {first}velora-sb3 resume {shlex.quote(str(directory))}")
        first = ""
    elif (directory / MODEL).exists():
        print_line(console, f"evaluate it: velora-sb3 evaluate {shlex.quote(str(directory))}")
    config_file = shlex.quote(str(directory / "config.json"))
    print_line(console, f"repeat it:   {first}velora-sb3 train --config {config_file}")


def print_line(console: Console, text: str) -> None:
    """Print plain text without line breaks, which would break up a path to copy."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def warnings_as_lines(console: Console) -> Iterator[None]:
    """Print warnings without the source line that they come from."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        print_line(console, " ".join(str(message).split()))

    with warnings.catch_warnings():
        for category in (UserWarning, RuntimeWarning):
            warnings.simplefilter("default", category)
        warnings.showwarning = show
        yield
