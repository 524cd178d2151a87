"""Observation and action spaces, and their random states, in simpler values."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
from gymnasium import spaces

from velora_sb3.checkpoints.format.errors import CheckpointError

Space = spaces.Space[Any]
KINDS = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary, spaces.Dict, spaces.Tuple)


def is_known_space(value: Any) -> bool:
    """Whether a value is a space that can be stored: one of gymnasium's own classes, no subclass."""
    return type(value) in KINDS


def pack_space(space: Any) -> dict[str, Any]:
    """What describes a space: its kind and the arguments of its constructor."""
    kind = {"kind": type(space).__name__}
    if isinstance(space, spaces.Box):
        return {**kind, "low": space.low, "high": space.high, "dtype": space.dtype}
    if isinstance(space, spaces.Discrete):
        return {**kind, "n": int(space.n), "start": int(space.start), "dtype": space.dtype}
    if isinstance(space, spaces.MultiDiscrete):
        return {**kind, "nvec": space.nvec, "start": space.start, "dtype": space.dtype}
    if isinstance(space, spaces.MultiBinary):
        return {**kind, "n": space.n if isinstance(space.n, int) else [int(size) for size in space.shape]}
    if isinstance(space, spaces.Dict):
        return {**kind, "keys": list(space.spaces), "spaces": list(space.spaces.values())}
    return {**kind, "spaces": list(space.spaces)}


def unpack_space(parts: dict[str, Any]) -> Space:
    """The space of a description."""
    match kind := parts["kind"]:
        case "Box":
            return spaces.Box(parts["low"], parts["high"], dtype=_dtype(parts))
        case "Discrete":
            return spaces.Discrete(parts["n"], start=parts["start"], dtype=_dtype(parts))
        case "MultiDiscrete":
            return spaces.MultiDiscrete(parts["nvec"], dtype=_dtype(parts), start=parts["start"])
        case "MultiBinary":
            return spaces.MultiBinary(parts["n"])
        case "Dict":
            return spaces.Dict(OrderedDict(zip(parts["keys"], parts["spaces"], strict=True)))  # a dict would be sorted
        case "Tuple":
            return spaces.Tuple(parts["spaces"])
    raise CheckpointError(f"it describes a space of an unknown kind {kind!r}")


def space_random(space: Space) -> Any:
    """The random generators of a space and of those in it."""
    children = [space_random(child) for child in _children(space)]
    return [space._np_random, children] if children else space._np_random


def restore_space_random(space: Space, random: Any) -> None:
    """Restore the random generators of a space and of those in it."""
    children = _children(space)
    if children:
        random, others = random
        for child, other in zip(children, others, strict=True):
            restore_space_random(child, other)
    space._np_random = random


def _children(space: Space) -> list[Space]:
    if isinstance(space, spaces.Dict):
        return list(space.spaces.values())
    return list(space.spaces) if isinstance(space, spaces.Tuple) else []


def _dtype(parts: dict[str, Any]) -> Any:
    return np.dtype(parts["dtype"]).type
