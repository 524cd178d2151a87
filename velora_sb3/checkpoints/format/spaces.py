"""Observation and action spaces, and their random states, as plain data."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces

from velora_sb3.checkpoints.format.errors import CheckpointError, NotPlainError

if TYPE_CHECKING:
    from velora_sb3.checkpoints.format.encoding import Decoder, Encoder


def pack_space(encoder: Encoder, space: Any, where: str) -> dict[str, Any]:
    """What describes a space."""
    kind: dict[str, Any] = {"kind": type(space).__name__}
    if type(space) is spaces.Box:
        bounds = {name: encoder.keep(getattr(space, name), f"{where}.{name}") for name in ("low", "high")}
        return {**kind, **bounds, "dtype": space.dtype.name}
    if type(space) is spaces.Discrete:
        return {**kind, "n": int(space.n), "start": int(space.start), "dtype": space.dtype.name}
    if type(space) is spaces.MultiDiscrete:
        arrays = {name: encoder.keep(getattr(space, name), f"{where}.{name}") for name in ("nvec", "start")}
        return {**kind, **arrays, "dtype": space.dtype.name}
    if type(space) is spaces.MultiBinary:
        return {**kind, "shape": [int(size) for size in space.shape], "n_is_int": isinstance(space.n, int)}
    if type(space) is spaces.Dict:
        entries = [[key, encoder.encode(entry, f"{where}[{key!r}]")] for key, entry in space.spaces.items()]
        return {**kind, "entries": entries}
    if type(space) is spaces.Tuple:
        parts = [encoder.encode(entry, f"{where}[{index}]") for index, entry in enumerate(space.spaces)]
        return {**kind, "entries": parts}
    raise NotPlainError(where, space)


def unpack_space(decoder: Decoder, data: dict[str, Any]) -> spaces.Space[Any]:
    """The space of a description."""
    kind = data["kind"]
    if kind == "Box":
        return spaces.Box(decoder.array(data["low"]), decoder.array(data["high"]), dtype=_dtype(data))
    if kind == "Discrete":
        return spaces.Discrete(int(data["n"]), start=int(data["start"]), dtype=_dtype(data))
    if kind == "MultiDiscrete":
        nvec, start = decoder.array(data["nvec"]), decoder.array(data["start"])
        return spaces.MultiDiscrete(nvec, dtype=_dtype(data), start=start)
    if kind == "MultiBinary":
        shape = [int(size) for size in data["shape"]]
        return spaces.MultiBinary(shape[0] if data["n_is_int"] else shape)
    if kind == "Dict":
        return spaces.Dict(OrderedDict((str(key), _space(decoder, entry)) for key, entry in data["entries"]))
    if kind == "Tuple":
        return spaces.Tuple([_space(decoder, entry) for entry in data["entries"]])
    raise CheckpointError(f"it describes a space of an unknown kind {kind!r}")


def space_random(space: spaces.Space[Any]) -> Any:
    """The random generators of a space and of those in it."""
    children = [space_random(child) for child in _children(space)]
    return [space._np_random, children] if children else space._np_random


def restore_space_random(space: spaces.Space[Any], random: Any) -> None:
    """Let a space go on drawing where another one stood."""
    children = _children(space)
    if children:
        random, others = random
        for child, other in zip(children, others, strict=True):
            restore_space_random(child, other)
    space._np_random = random


def _children(space: spaces.Space[Any]) -> list[spaces.Space[Any]]:
    if isinstance(space, spaces.Dict):
        return list(space.spaces.values())
    return list(space.spaces) if isinstance(space, spaces.Tuple) else []


def _space(decoder: Decoder, data: Any) -> spaces.Space[Any]:
    space = decoder.decode(data)
    if not isinstance(space, spaces.Space):
        raise CheckpointError("it describes a space of spaces that holds something else")
    return space


def _dtype(data: dict[str, Any]) -> Any:
    return np.dtype(str(data["dtype"])).type
