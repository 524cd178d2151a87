"""Values that JSON cannot express, as simpler ones: each codec packs one kind into parts that are encoded in turn."""

from __future__ import annotations

import os
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import torch
from stable_baselines3.common.type_aliases import TrainFreq

from velora_sb3.checkpoints.format.allow_list import is_plain_object
from velora_sb3.checkpoints.format.errors import CheckpointError
from velora_sb3.checkpoints.format.spaces import is_known_space, pack_space, unpack_space

BIT_GENERATORS = {
    kind.__name__: kind
    for kind in (np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox, np.random.SFC64)
}

MOMENTS: dict[str, Callable[[str], Any]] = {  # how to read what isoformat() wrote
    "Timestamp": pd.Timestamp,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
}

Parts = dict[str, Any]


@dataclass(frozen=True)
class Codec:
    """How one kind of value is stored.

    Attributes:
        tag: Its ``$type``.
        matches: Whether a value is of the kind.
        pack: Value to named parts.
        unpack: Parts to value.
    """

    tag: str
    matches: Callable[[Any], bool]
    pack: Callable[[Any], Parts]
    unpack: Callable[[Parts], Any]


def _class(parts: Parts, base: type) -> Any:
    """The class among the parts; the decoder has found it on the allow list."""
    kind = parts["class"]
    if not isinstance(kind, type) or not issubclass(kind, base):
        raise CheckpointError(f"it names {kind!r} instead of a kind of {base.__name__}")
    return kind


def _pack_pairs(value: Any) -> Parts:
    return {"ordered": isinstance(value, OrderedDict), "keys": list(value), "values": list(value.values())}


def _unpack_pairs(parts: Parts) -> dict[Any, Any]:
    return (OrderedDict if parts["ordered"] else dict)(zip(parts["keys"], parts["values"], strict=True))


def _unpack_dtype(parts: Parts) -> Any:
    name = str(parts["name"])
    found = getattr(torch, name, None) if parts["library"] == "torch" else np.dtype(name)
    if not isinstance(found, torch.dtype | np.dtype):
        raise CheckpointError(f"it names an unknown number type {name!r}")
    return found


def _pack_generator(value: Any) -> Parts:
    legacy = isinstance(value, np.random.RandomState)
    return {"legacy": legacy, "state": value.get_state(legacy=False) if legacy else value.bit_generator.state}


def _unpack_generator(parts: Parts) -> Any:
    state = parts["state"]
    bits = BIT_GENERATORS.get(state["bit_generator"])
    if bits is None:
        raise CheckpointError(f"it names an unknown random generator {state['bit_generator']!r}")
    generator: Any = np.random.RandomState(bits()) if parts["legacy"] else np.random.Generator(bits())
    if parts["legacy"]:
        generator.set_state(state)
    else:
        generator.bit_generator.state = state
    return generator


def _is_generator(value: Any) -> bool:
    if isinstance(value, np.random.Generator):
        return type(value.bit_generator).__name__ in BIT_GENERATORS
    return isinstance(value, np.random.RandomState)


def _pack_moment(value: Any) -> Parts:
    zone = getattr(value, "tzinfo", None)
    name = getattr(zone, "key", None) or getattr(zone, "zone", None)  # zoneinfo's, or pytz's
    unit = getattr(value, "unit", None)
    return {"kind": type(value).__name__, "text": value.isoformat(), "zone": name, "unit": unit}


def _unpack_moment(parts: Parts) -> Any:
    value = MOMENTS[parts["kind"]](parts["text"])
    if parts["zone"] is not None:
        value = value.astimezone(ZoneInfo(parts["zone"]))
    return value if parts["unit"] is None else value.as_unit(parts["unit"])


def _time_dtype(name: Any) -> np.dtype[Any]:
    found = np.dtype(str(name))
    if found.kind not in "mM":
        raise CheckpointError(f"it names {name!r}, expected a date or duration")
    return found


def _unpack_object(parts: Parts) -> Any:
    kind = _class(parts, object)
    made = kind.__new__(kind)
    if not is_plain_object(made):
        raise CheckpointError(f"it holds the attributes of a {kind.__name__}, which must be constructed")
    vars(made).update(parts["attributes"])
    return made


CODECS: tuple[Codec, ...] = (
    Codec("float", lambda v: type(v) is float, lambda v: {"value": repr(v)}, lambda p: float(p["value"])),
    Codec(  # a plain tuple, which SB3 turns into a TrainFreq again
        "train_freq",
        lambda v: isinstance(v, TrainFreq),
        lambda v: {"frequency": v.frequency, "unit": v.unit.value},
        lambda p: (p["frequency"], p["unit"]),
    ),
    Codec(
        "named_tuple",
        lambda v: isinstance(v, tuple) and hasattr(v, "_fields"),
        lambda v: {"class": type(v), "items": list(v)},
        lambda p: _class(p, tuple)(*p["items"]),
    ),
    Codec("tuple", lambda v: type(v) is tuple, lambda v: {"items": list(v)}, lambda p: tuple(p["items"])),
    Codec(
        "path",
        lambda v: isinstance(v, os.PathLike) and isinstance(os.fspath(v), str),
        lambda v: {"path": os.fspath(v)},
        lambda p: Path(p["path"]),
    ),
    Codec(
        "deque",
        lambda v: isinstance(v, deque),
        lambda v: {"maxlen": v.maxlen, "items": list(v)},
        lambda p: deque(p["items"], maxlen=p["maxlen"]),
    ),
    Codec("dict", lambda v: type(v) in (dict, OrderedDict), _pack_pairs, _unpack_pairs),
    Codec(
        "enum",
        lambda v: isinstance(v, Enum),
        lambda v: {"class": type(v), "name": v.name},
        lambda p: _class(p, Enum)[p["name"]],
    ),
    Codec(
        "scalar",
        lambda v: isinstance(v, np.str_) or (isinstance(v, np.generic) and v.dtype.kind in "biuf" and v.itemsize <= 8),
        lambda v: {"class": type(v), "value": v.item()},
        lambda p: _class(p, np.generic)(p["value"]),
    ),
    Codec("moment", lambda v: type(v) in (pd.Timestamp, datetime, date), _pack_moment, _unpack_moment),
    Codec(
        "timedelta",
        lambda v: type(v) is timedelta,
        lambda v: {"days": v.days, "seconds": v.seconds, "microseconds": v.microseconds},
        lambda p: timedelta(**p),
    ),
    Codec(
        "numpy_time",
        lambda v: isinstance(v, np.datetime64 | np.timedelta64),
        lambda v: {"dtype": v.dtype.str, "number": int(v.astype(np.int64))},
        lambda p: np.int64(p["number"]).astype(_time_dtype(p["dtype"])),
    ),
    Codec(
        "dtype",
        lambda v: isinstance(v, torch.dtype) or (isinstance(v, np.dtype) and v.kind in "biufc"),
        lambda v: (
            {"library": "torch", "name": str(v).removeprefix("torch.")}
            if isinstance(v, torch.dtype)
            else {"library": "numpy", "name": v.str}
        ),
        _unpack_dtype,
    ),
    Codec("random_generator", _is_generator, _pack_generator, _unpack_generator),
    Codec("space", is_known_space, pack_space, unpack_space),
    Codec(
        "object",
        is_plain_object,
        lambda v: {"class": type(v), "attributes": dict(vars(v))},
        _unpack_object,
    ),
)
