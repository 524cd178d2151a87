"""The layout of observations: one frame or a history of frames, with or without timespans."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from velora_sb3._validation import check_integer

Observation = torch.Tensor | dict[str, torch.Tensor]
TIMESPANS_KEY = "timespans"  # unless the policy has another


@dataclass(frozen=True)
class Frames:
    """The layout of an observation.

    Attributes:
        space: The space of one frame, without the timespans.
        steps: Number of frames in a history; None for a single observation.
        timespans_key: The key that holds the timespans; None if there are none.
        numbers: Whether the observation is a Box of shape ``()``, or a Dict has one: ``space`` has it as a vector.
    """

    space: spaces.Space[Any]
    steps: int | None
    timespans_key: str | None
    numbers: bool = False

    def split(self, observations: Observation) -> tuple[Observation, torch.Tensor | None]:
        """Separate frames and timespans.

        Args:
            observations: Preprocessed by SB3: ``(N, ...)`` or a dict of them.

        Returns:
            Single observations ``(N, ...)``, or the frames of histories, time before batch: ``(T * N, ...)``;
            and the timespans ``(N,)`` or ``(T, N)``, or None.
        """
        timespans = None
        if self.timespans_key is not None:
            assert isinstance(observations, dict)
            timespans = observations[self.timespans_key]
            timespans = timespans.reshape(-1, self.steps or 1).t()  # (T, N), T = 1 for a single observation
            timespans = timespans[0] if self.steps is None else timespans
            observations = {key: value for key, value in observations.items() if key != self.timespans_key}
        if self.steps is None:
            return (_numbers_as_vectors(observations) if self.numbers else observations), timespans
        if isinstance(observations, dict):
            assert isinstance(self.space, spaces.Dict)
            frames = {key: _unstack(value, self.steps, self.space[key]) for key, value in observations.items()}
            return frames, timespans
        return _unstack(observations, self.steps, self.space), timespans


def batch_size(observation: Any, space: spaces.Space[Any]) -> int:
    """Number of observations in what ``predict`` is given: an array, a list, or a dict of them; 1 for a single one."""
    if isinstance(observation, tuple) and any(isinstance(part, dict) for part in observation):
        raise ValueError(
            "predict() takes an observation, got a tuple: gymnasium's reset() and step() return the observation first, "
            "pass that alone"
        )
    if isinstance(space, spaces.Dict):
        if not isinstance(observation, Mapping) or set(observation) != set(space.spaces):
            got = f"one of {list(observation)}" if isinstance(observation, Mapping) else type(observation).__name__
            raise ValueError(f"the observation must be a dict of {', '.join(map(repr, space.spaces))}, got {got}")
        sizes = {key: batch_size(observation[key], entry) for key, entry in space.spaces.items()}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"the entries of the observation must be of one batch, got the sizes {sizes}")
        return next(iter(sizes.values()))
    shape = np.shape(observation)  # SB3 refuses what does not fit the space
    return math.prod(shape) // math.prod(space.shape or ()) if len(shape) > len(space.shape or ()) else 1


def read_frames(space: spaces.Space[Any], n_stack: int | None, timespans_key: str, history: bool = True) -> Frames:
    """Read the layout of observations from their space.

    A history is a two-dimensional Box ``(T, F)``, a Dict of them, or with ``n_stack`` what SB3's ``VecFrameStack``
    makes. Timespans are the entry ``timespans_key`` of a Dict.

    Args:
        space: The observation space that the policy sees.
        n_stack: ``VecFrameStack``'s ``n_stack``; None if it is not used.
        timespans_key: The key of the timespans.
        history: Whether a two-dimensional Box is a history, and not a single observation.

    Returns:
        The layout.

    Raises:
        ValueError: If the space has no such layout.
    """
    if n_stack is not None:
        check_integer("n_stack", n_stack, least=2)
    entries = dict(space.spaces) if isinstance(space, spaces.Dict) else {}
    if timespans_key != TIMESPANS_KEY and timespans_key not in entries:
        keys = f"a Dict of {', '.join(map(repr, entries))}" if entries else str(space)
        raise ValueError(
            f"timespans_key={timespans_key!r} is not in the observation, {keys}: pass one of its keys, or leave it out"
        )
    for name, subspace in (entries or {"": space}).items():
        check_start(f"observation[{name!r}]" if name else "the observation", subspace)
    if not isinstance(space, spaces.Dict):
        frame, steps = _read_box("the observation", space, n_stack, history)
        return Frames(_number_as_vector(frame), steps, None, frame.shape == ())

    rest = {key: subspace for key, subspace in space.spaces.items() if key != timespans_key}
    if not rest:
        raise ValueError(f"the Dict observation contains only {timespans_key!r}: add an entry for the policy to see")
    stacked = n_stack is not None or (history and all(len(sub.shape or ()) == 2 for sub in rest.values()))
    if stacked:
        read = {key: _read_box(f"observation[{key!r}]", sub, n_stack, history) for key, sub in rest.items()}
        lengths = {steps for _, steps in read.values()}
        if len(lengths) > 1:
            raise ValueError(f"histories in a Dict observation must have one length, got {sorted(map(str, lengths))}")
        frames, steps = spaces.Dict({key: frame for key, (frame, _) in read.items()}), lengths.pop()
    else:
        frames, steps = spaces.Dict({key: _number_as_vector(sub) for key, sub in rest.items()}), None
    numbers = any(sub.shape == () for sub in rest.values())
    if timespans_key not in space.spaces:
        return Frames(frames, steps, None, numbers)
    times = space[timespans_key]
    if not isinstance(times, spaces.Box) or int(np.prod(times.shape)) != (steps or 1):
        hint = "" if history else "; this policy takes one observation at a time: remove the frame stack"
        if history and steps is None and isinstance(times, spaces.Box) and np.prod(times.shape) > 1:
            other = next(key for key, sub in rest.items() if not isinstance(sub, spaces.Box) or len(sub.shape) != 2)
            hint = f"; observation[{other!r}] is {rest[other]}, not a stack of vectors: flatten it before stacking"
        raise ValueError(
            f"observation[{timespans_key!r}] must be a Box of {steps or 1} number(s), one per frame, got {times}{hint}"
        )
    return Frames(frames, steps, timespans_key, numbers)


def check_start(name: str, space: spaces.Space[Any]) -> None:
    """Raise ``ValueError`` if a choice does not count from 0: SB3 encodes it one-hot as if it did."""
    if np.any(getattr(space, "start", 0)):  # of Discrete a number, of MultiDiscrete one for each dimension
        raise ValueError(
            f"SB3 numbers choices from 0, but {name} is {space}: wrap the environment in "
            "gymnasium.wrappers.TransformObservation, with a space that starts at 0 and a function that subtracts the "
            "start"
        )


def _number_as_vector(space: spaces.Space[Any]) -> spaces.Space[Any]:
    if not isinstance(space, spaces.Box) or space.shape != ():
        return space
    return spaces.Box(space.low.reshape(1), space.high.reshape(1), dtype=space.dtype.type)


def _numbers_as_vectors(observations: Observation) -> Observation:
    if isinstance(observations, dict):
        return {key: value.unsqueeze(1) if value.dim() == 1 else value for key, value in observations.items()}
    return observations.unsqueeze(1) if observations.dim() == 1 else observations


def _unstack(stacked: torch.Tensor, steps: int, space: spaces.Space[Any]) -> torch.Tensor:
    """Frames side by side ``(N, T * ...)`` as a batch of frames ``(T * N, ...)``."""
    assert space.shape is not None
    frames = stacked.reshape(stacked.shape[0], steps, *space.shape)
    return frames.transpose(0, 1).reshape(-1, *space.shape)


def _read_box(
    name: str, space: spaces.Space[Any], n_stack: int | None, history: bool
) -> tuple[spaces.Space[Any], int | None]:
    """The space of one frame and the number of frames."""
    shape = space.shape or ()
    if n_stack is not None:
        if not isinstance(space, spaces.Box) or len(shape) not in (1, 3):
            raise ValueError(f"n_stack={n_stack} needs vectors or images of a VecFrameStack, but {name} is {space}")
        if shape[0] % n_stack:
            raise ValueError(
                f"{name} has shape {shape}: {shape[0]} is not a multiple of n_stack={n_stack}; "
                "is the environment wrapped in VecFrameStack with that n_stack?"
            )
        first = shape[0] // n_stack
        return spaces.Box(space.low[:first], space.high[:first], dtype=space.dtype.type), n_stack
    if history and isinstance(space, spaces.Box) and len(shape) == 2:
        return spaces.Box(space.low[0], space.high[0], dtype=space.dtype.type), shape[0]
    if isinstance(space, spaces.Box) and len(shape) > 3:
        raise ValueError(
            f"{name} has shape {shape}, but a history has 2 dimensions (time, features) and an image has 3; "
            "for histories of images use SB3's VecFrameStack with policy_kwargs=dict(n_stack=...), and for anything "
            "else gymnasium's FlattenObservation"
        )
    return space, None
