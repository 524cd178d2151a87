"""Interquartile mean and its bootstrap interval, as learning results are reported here.

References:
    Agarwal et al. (2021), "Deep Reinforcement Learning at the Edge of the Statistical Precipice", NeurIPS.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
LEVEL = 0.95  # share of the draws within the interval


def interquartile_mean(scores: Sequence[float]) -> float:
    """Mean of the middle half of the scores (whole scores only: one is cut off at either end of four to seven)."""
    return float(interquartile_means(np.asarray(scores, dtype=float)))


def interquartile_means(scores: Array) -> Array:
    """The same along the last axis.

    Args:
        scores: ``(..., R)`` of ``R`` runs.

    Returns:
        ``(...)``.
    """
    ordered = np.sort(scores, axis=-1)
    cut = scores.shape[-1] // 4
    means: Array = ordered[..., cut : scores.shape[-1] - cut].mean(axis=-1)
    return means


def bootstrap_interval(scores: Sequence[float]) -> tuple[float, float]:
    """Percentile bootstrap interval of the interquartile mean over runs, with a fixed generator."""
    low, high = bootstrap_band(np.asarray(scores, dtype=float)[:, None], draws=10_000)
    return float(low[0]), float(high[0])


def bootstrap_band(scores: Array, draws: int = 1_000) -> tuple[Array, Array]:
    """The same at many places of a curve: whole runs are drawn, with a fixed generator.

    Args:
        scores: ``(R, P)`` of ``R`` runs at ``P`` places.
        draws: Number of draws.

    Returns:
        Lower and upper ends ``(P,)``.
    """
    runs = np.random.default_rng(0).integers(0, len(scores), size=(draws, len(scores)))
    ends = [
        np.quantile(interquartile_means(place[runs]), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])  # one at a time: memory
        for place in scores.T
    ]
    low, high = np.array(ends).reshape(-1, 2).T
    return low, high
