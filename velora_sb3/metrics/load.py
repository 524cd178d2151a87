"""Load runs and episodes as data frames."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path

import pandas as pd

from velora_sb3.metrics.database import reading

RUN_COLUMNS = ["run", "run_id", "algorithm", "env", "seed", "total_timesteps", "status", "started", "ended"]
EPISODE_COLUMNS = {
    "run_id": "int64",
    "episode": "int64",
    "return": "float64",
    "length": "int64",
    "moving_average": "float64",
    "moving_deviation": "float64",
    "timesteps": "int64",
    "seconds": "float64",
    "env_index": "int64",
}


def load_metrics(path: str | os.PathLike[str], run: str | int | None = None) -> pd.DataFrame:
    """Load the episodes of a file written by ``RecordMetrics``, also during training.

    Args:
        path: The file.
        run: Name or number of a run; None for all runs.

    Returns:
        One row per episode, ordered by run and episode number: the run's columns, the episode's, and a column for each
        ``train/...`` key that SB3 had logged by then. The documentation describes the columns.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If ``RecordMetrics`` did not write it, it cannot be read, or it does not hold the run.
    """
    with reading(Path(path)) as connection:
        runs = _runs(connection, Path(path), run)
        chosen = "" if run is None else f"WHERE run = {int(runs['run_id'].iloc[0])}"
        rows = connection.execute(
            "SELECT run, number, return, length, moving_average, moving_deviation, timestep, seconds, env_index, "
            f"losses FROM episodes {chosen} ORDER BY run, number"
        ).fetchall()
    episodes = pd.DataFrame(rows, columns=[*EPISODE_COLUMNS, "losses"])
    texts = episodes.pop("losses")
    parsed = {text: json.loads(text) for text in texts.unique()}  # many episodes share the losses of an update
    losses = pd.DataFrame([parsed[text] for text in texts], index=episodes.index, dtype="float64")
    joined = runs[RUN_COLUMNS].merge(episodes.astype(EPISODE_COLUMNS), on="run_id", how="right")
    return pd.concat([joined[RUN_COLUMNS + list(EPISODE_COLUMNS)[1:]], losses], axis="columns")


def load_runs(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Load the runs of a file written by ``RecordMetrics``, including those without episodes.

    Args:
        path: The file.

    Returns:
        One row per run: its columns in :func:`load_metrics`, its number of ``episodes``, and ``config`` and
        ``versions`` as dicts.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If ``RecordMetrics`` did not write it, or it cannot be read.
    """
    with reading(Path(path)) as connection:
        runs = _runs(connection, Path(path), None)
        counts = dict(connection.execute("SELECT run, count(*) FROM episodes GROUP BY run").fetchall())
    runs.insert(len(RUN_COLUMNS), "episodes", [counts.get(run_id, 0) for run_id in runs["run_id"]])
    for column in ("config", "versions"):
        runs[column] = pd.Series([json.loads(text) for text in runs[column]], index=runs.index, dtype="object")
    return runs


def _runs(connection: sqlite3.Connection, path: Path, run: str | int | None) -> pd.DataFrame:
    rows = connection.execute(
        "SELECT name, id, algorithm, env, seed, total_timesteps, status, started, ended, config, versions "
        "FROM runs ORDER BY id"
    ).fetchall()
    runs = pd.DataFrame(rows, columns=[*RUN_COLUMNS, "config", "versions"])
    if run is not None:
        is_wanted = runs["run"] == run if isinstance(run, str) else runs["run_id"] == run
        if not is_wanted.any():
            known = ", ".join(f"{name} ({number})" for name, number in zip(runs["run"], runs["run_id"], strict=True))
            raise ValueError(f"{path} has no run {run!r}; available: {known or 'none'}")
        runs = runs[is_wanted]
    for column in ("started", "ended"):
        runs[column] = pd.to_datetime(runs[column], utc=True, format="ISO8601").dt.as_unit("us")
    texts = dict.fromkeys(("run", "algorithm", "env", "status"), "str")  # also for an empty frame
    return runs.astype({"run_id": "int64", "seed": "Int64", "total_timesteps": "int64", **texts})
