"""Interquartile mean and its bootstrap interval, as learning results are reported here.

References:
    Agarwal et al. (2021), "Deep Reinforcement Learning at the Edge of the Statistical Precipice", NeurIPS.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def interquartile_mean(scores: Sequence[float]) -> float:
    """Mean of the middle half of the scores (whole scores only: one is cut off at either end of four to seven)."""
    ordered = np.sort(np.asarray(scores, dtype=float))
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())


def bootstrap_interval(scores: Sequence[float], level: float = 0.95, draws: int = 10_000) -> tuple[float, float]:
    """Percentile bootstrap interval of the interquartile mean over runs, with a fixed generator."""
    generator = np.random.default_rng(0)
    values = np.asarray(scores, dtype=float)
    samples = np.sort(generator.choice(values, size=(draws, len(values))), axis=1)
    cut = len(values) // 4
    means = samples[:, cut : len(values) - cut].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
