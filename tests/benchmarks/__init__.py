"""Benchmarks that are no commands of the package."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def parse_arguments(description: str | None, candidates: Sequence[str], tasks: Sequence[str], out: str) -> Any:
    """The options that benchmarks of learning share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path(out))
    parser.add_argument("--only", nargs="*", choices=list(candidates), default=list(candidates))
    parser.add_argument("--tasks", nargs="*", choices=list(tasks), default=list(tasks))
    return parser.parse_args()


def verdict(name: str, value: float, bound: float) -> str:
    """One line: a ratio, its bound, and whether it is met."""
    return f"{'met   ' if value <= bound else 'MISSED'} {name}: {value:.2f} (must be <= {bound})"
