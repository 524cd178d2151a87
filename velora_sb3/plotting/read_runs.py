"""The episodes of several runs in one table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

NUMBERS = ("timesteps", "return", "length", "seconds")


def read_runs(directories: Path | str | Sequence[Path | str]) -> pd.DataFrame:
    """Read the run directories of ``velora-sb3 train``, for :func:`velora_sb3.plotting.learning_curves`.

    Args:
        directories: The run directories, for example of several seeds, or one of them.

    Returns:
        One row per episode: ``run``, ``run_id``, ``algorithm``, ``env``, ``seed``, ``episode``, ``return``,
        ``timesteps``, ``seconds``.

    Raises:
        FileNotFoundError: If a directory has no ``config.json`` or ``episodes.csv``.
        ValueError: If there are no directories.
    """
    paths = [Path(path) for path in ([directories] if isinstance(directories, str | Path) else directories)]
    if not paths:
        raise ValueError("read_runs needs at least one run directory, got none")
    tables = []
    for number, path in enumerate(paths, start=1):
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        table = pd.read_csv(path / "episodes.csv")
        named = {"run": path.name, "run_id": number, "algorithm": config["algo"], "env": config["env"]}
        tables.append(table.assign(**named, seed=config["seed"], episode=range(1, len(table) + 1)))
    runs = pd.concat(tables, ignore_index=True)
    return runs.assign(**{name: pd.to_numeric(runs[name]) for name in NUMBERS if name in runs})  # also without episodes
