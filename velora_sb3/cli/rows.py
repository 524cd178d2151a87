"""CSV files of a run, which goes on in the same files when it is resumed."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path


def start_rows(path: Path, columns: Sequence[str], timestep: int) -> None:
    """Start a file; that of a run that goes on keeps its rows up to there, the run writes the others again."""
    kept: list[list[str]] = []
    if timestep > 0 and path.exists():
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            rows = (row for row in csv.reader(file) if len(row) == len(columns) and row[0].isdigit())  # none cut short
            kept = [row for row in rows if int(row[0]) <= timestep]
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    append_rows(partial, [columns, *kept])
    partial.replace(path)


def append_rows(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Add rows at the end of a file."""
    with path.open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
