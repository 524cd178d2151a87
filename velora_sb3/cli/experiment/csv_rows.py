"""CSV files of a run, which a resumed run continues."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from velora_sb3._atomic import atomic_write


def start_rows(path: Path, columns: Sequence[str], timestep: int) -> None:
    """Start a file. A resumed run keeps the rows up to its timestep and writes the later ones again."""
    kept: list[list[str]] = []
    if timestep > 0 and path.exists():
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            rows = (row for row in csv.reader(file) if len(row) == len(columns) and row[0].isdigit())  # complete ones
            kept = [row for row in rows if int(row[0]) <= timestep]
    with atomic_write(path) as partial:
        partial.unlink(missing_ok=True)
        append_rows(partial, [columns, *kept])


def append_rows(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Append rows to a file."""
    with path.open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
