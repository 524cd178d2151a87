"""The benchmark of speed: ours beside others, in turns in one process, on one torch thread."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch

from velora_sb3.benchmarks.timing import time_in_turns

UNITS: dict[str, Callable[[float], float]] = {
    "ms": lambda seconds: 1e3 * seconds,
    "µs": lambda seconds: 1e6 * seconds,
    "steps/s": lambda seconds: 1 / seconds,
}


@dataclass(frozen=True)
class Row:
    """What is timed in turns: a candidate of ours first, then those to compare it with."""

    name: str
    make: Callable[[str], Mapping[str, Callable[[], object]]]  # a turn of each candidate, on a device
    unit: str = "ms"
    steps: int = 1  # in one turn
    slowness: int = 1  # rounds are divided by it
    warmup: int = 1


def measure(row: Row, rounds: int, device: str) -> dict[str, float]:
    """The time or the speed of each candidate, in the row's unit.

    On a CPU the process's time on the processor counts, whatever else runs on the machine; on a GPU the time until it
    has finished.
    """

    def finished(turn: Callable[[], object]) -> None:
        turn()
        if device != "cpu":
            torch.cuda.synchronize()

    turns = {name: partial(finished, turn) for name, turn in row.make(device).items()}
    clock = time.process_time if device == "cpu" else time.perf_counter
    seconds = time_in_turns(turns, max(min(rounds, 3), rounds // row.slowness), row.warmup, clock)
    return {name: UNITS[row.unit](value / row.steps) for name, value in seconds.items()}


def line(row: Row, values: Mapping[str, float]) -> str:
    """A line of the Markdown table."""
    (ours, value), *others = values.items()
    cells = [f"{name}: {_number(other)} ({_ratio(value, other, row.unit):.2f})" for name, other in others]
    return f"| {row.name} | {row.unit} | {ours}: {_number(value)} | {'; '.join(cells)} |"


HEADER = "| | | ours | others (how many times as fast ours is) |\n|---|---|---|---|"


def _ratio(ours: float, other: float, unit: str) -> float:
    return ours / other if unit == "steps/s" else other / ours


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def machine(device: str) -> str:
    """Versions and the device, in one line."""
    name = platform.processor() or platform.machine() if device == "cpu" else torch.cuda.get_device_name(device)
    clock = "time of the process on the CPU" if device == "cpu" else "wall-clock time"
    return f"torch {torch.__version__}, {name}, one thread, float32, {clock}, medians"
