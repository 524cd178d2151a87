"""Whether an exported policy acts as the model does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from gymnasium import spaces

from velora_sb3._normalization import ObservationStatistics
from velora_sb3._validation import takes_masks
from velora_sb3.export.observations import TIMESPANS, ObservationEntry
from velora_sb3.export.step import PolicyStep

STEPS, ENVIRONMENTS, EPISODE = 1_000, 4, 40  # EPISODE: steps between resets, on average
TOLERANCE = 1e-5  # of an action; of half its range where that is above 1
SPACINGS = 4  # of float32 at the larger bound, where that is more
ROUNDING = 5e-7  # a relative error
Array = np.ndarray[Any, Any]
Act = Callable[[Any, Array, Array | None], Array]


def check_parity(model: Any, step: PolicyStep, statistics: ObservationStatistics | None, act: Act) -> dict[str, Any]:
    """Compare an exported policy with ``model.predict`` on random observations, with resets in between.

    Args:
        model: The model.
        step: Its step.
        statistics: Statistics that normalize observations, if any.
        act: The exported policy: a function of a batch of raw observations, episode starts ``(B,)`` and action masks
            ``(B, D)`` (None if there are none), which keeps the state.

    Returns:
        The report.

    Raises:
        ValueError: If an action differs.
    """
    random = np.random.default_rng(0)
    state: Any = None
    worst, resets, allowed = 0.0, 0, _allowed_difference(step)
    masked: dict[str, Any] = {}
    rounds, compared = -(-STEPS // ENVIRONMENTS), 0
    twin: Any = None  # the model's state once more, off by rounding
    unsure: Array = np.zeros(ENVIRONMENTS, bool)
    for number, starts in enumerate(_episode_starts(random, rounds)):
        starts |= unsure
        observation = draw_observation(step, statistics, random, ENVIRONMENTS)
        masks = _draw_masks(step, random) if step.action.maskable else None
        if masks is not None and takes_masks(model):
            masked = {"action_masks": masks}
        seen = observation if statistics is None else statistics.normalize_obs(observation)
        expected, state = model.predict(seen, state, starts, deterministic=True, **masked)
        other, twin = model.predict(seen, _nudged(twin, random), starts, deterministic=True, **masked)
        got = act(observation, starts, masks)
        resets += int(starts.sum())
        difference, margin = _difference(got, expected), _difference(other, expected)
        unsure = ~_rows(margin <= allowed / 4)  # the model amplifies rounding: this episode ends
        compared += int((~unsure).sum())
        worst = max(worst, float(np.max(difference[~unsure], initial=0.0)))
        if not np.all(_rows(difference <= allowed) | unsure):  # also a NaN
            raise ValueError(
                f"the exported policy differs from model.predict at step {number * ENVIRONMENTS}: "
                f"{np.asarray(got).tolist()} instead of {np.asarray(expected).tolist()}; the policy computes something "
                "that an export does not contain, such as an overridden predict()"
            )
    if compared < rounds * ENVIRONMENTS / 2:
        raise ValueError(
            f"model.predict is reproducible in only {compared} of {rounds * ENVIRONMENTS} steps, so an export cannot "
            "be compared with it: predict() draws random numbers, or rounding changes the policy's actions"
        )
    return {
        "reference": f"{type(model).__name__}.predict(deterministic=True)",
        "steps": rounds * ENVIRONMENTS,
        "compared": compared,
        "environments": ENVIRONMENTS,
        "episodes": resets,
        "largest_difference": worst,
        "tolerance": np.max(allowed, initial=0.0).item(),
    }


def _difference(one: Any, other: Any) -> Array:
    found: Array = np.abs(np.asarray(one, np.float64) - np.asarray(other, np.float64))
    return found


def _rows(good: Array) -> Array:
    """Whether everything is good, for each environment."""
    return np.asarray(good.reshape(ENVIRONMENTS, -1).all(axis=1))


def _nudged(state: Any, random: np.random.Generator) -> Any:
    """A state with real numbers that are off by rounding."""
    if isinstance(state, tuple):
        return tuple(_nudged(part, random) for part in state)
    if state is None or state.dtype.kind != "f":
        return state
    return (state * (1 + ROUNDING * random.standard_normal(state.shape))).astype(state.dtype)


def _allowed_difference(step: PolicyStep) -> Array:
    if not isinstance(step.action.space, spaces.Box):
        return np.zeros(())
    low, high = (bound.astype(np.float64) for bound in (step.action.space.low, step.action.space.high))
    reach, bound = (high - low) / 2, np.maximum(np.abs(low), np.abs(high))
    finite = np.isfinite(reach)
    allowed = TOLERANCE * np.where(finite, np.maximum(reach, 1), 1)
    rounding = SPACINGS * np.spacing(np.where(finite, bound, 0).astype(np.float32)).astype(np.float64)
    return np.maximum(allowed, rounding)


def _episode_starts(random: np.random.Generator, rounds: int) -> Iterator[Array]:
    for number in range(rounds):
        yield np.ones(ENVIRONMENTS, bool) if number == 0 else random.random(ENVIRONMENTS) < 1 / EPISODE


def draw_observation(
    step: PolicyStep, statistics: ObservationStatistics | None, random: np.random.Generator, batch: int
) -> Any:
    """A batch of random observations, as the environment would give them."""
    drawn: Any = {entry.key: _draw(entry, statistics, random, batch) for entry in step.entries}
    return drawn.get("", drawn)


def _draw(
    entry: ObservationEntry, statistics: ObservationStatistics | None, random: np.random.Generator, batch: int
) -> Array:
    space, size = entry.raw, (batch, *entry.shape)
    if isinstance(space, spaces.Discrete):
        return random.integers(int(space.n), size=size)
    if isinstance(space, spaces.MultiDiscrete):
        return random.integers(space.nvec, size=size)
    if isinstance(space, spaces.MultiBinary):
        return random.integers(2, size=size).astype(space.dtype)
    assert isinstance(space, spaces.Box)
    if space.dtype.kind in "iub":
        low, high = (
            np.clip(bound.astype(np.float64), -1000, 1000).astype(np.int64) for bound in (space.low, space.high)
        )
        return random.integers(low, high + 1, size=size).astype(space.dtype)
    if entry.name == TIMESPANS:
        return np.clip(random.exponential(size=size), np.maximum(space.low, 0), space.high).astype(space.dtype)
    values = random.standard_normal(size)
    if statistics is not None and entry.normalized:
        return (statistics.mean[entry.key] + np.sqrt(statistics.variance[entry.key]) * values).astype(space.dtype)
    return np.clip(values, space.low, space.high).astype(space.dtype)


def _draw_masks(step: PolicyStep, random: np.random.Generator) -> Array:
    parts = []
    for size in step.action.sizes:
        part = random.random((ENVIRONMENTS, size)) < 0.6
        part[np.arange(ENVIRONMENTS), random.integers(size, size=ENVIRONMENTS)] = True
        parts.append(part)
    return np.concatenate(parts, axis=1)
