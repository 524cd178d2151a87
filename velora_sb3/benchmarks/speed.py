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
    has finished up to ten calls, which do not wait for each other, as in training.
    """
    turns = row.make(device)
    repeats = {name: 1 if device == "cpu" else _repeats(turn) for name, turn in turns.items()}

    def finished(turn: Callable[[], object], count: int) -> None:
        for _ in range(count):
            turn()
        if device != "cpu":
            torch.cuda.synchronize()

    actions = {name: partial(finished, turn, repeats[name]) for name, turn in turns.items()}
    clock = time.process_time if device == "cpu" else time.perf_counter
    seconds = time_in_turns(actions, max(min(rounds, 3), rounds // row.slowness), row.warmup, clock)
    return {name: UNITS[row.unit](value / repeats[name] / row.steps) for name, value in seconds.items()}


def _repeats(turn: Callable[[], object]) -> int:
    """How many calls take a GPU about 30 ms, from 1 to 10; the first, which compiles kernels, does not count."""
    for _ in range(2):
        start = time.perf_counter()
        turn()
        torch.cuda.synchronize()
    return max(1, min(10, int(0.03 / (time.perf_counter() - start))))


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
