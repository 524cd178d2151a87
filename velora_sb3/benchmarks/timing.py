"""Interleaved timing, A, B, C, A, B, C, ..., so that a machine's drift affects all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np


def time_in_turns(
    actions: Mapping[str, Callable[[], object]],
    rounds: int,
    warmup: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median seconds of each action, by a clock in seconds."""
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(warmup + rounds):
        for name, action in actions.items():
            start = clock()
            action()
            seconds[name].append(clock() - start)
    return {name: float(np.median(values[warmup:])) for name, values in seconds.items()}
