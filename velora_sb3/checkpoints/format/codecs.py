"""How each kind of value that JSON does not know is stored."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.type_aliases import TrainFreq

from velora_sb3.checkpoints.format.allow_list import is_plain_object, name_of
from velora_sb3.checkpoints.format.errors import CheckpointError
from velora_sb3.checkpoints.format.spaces import pack_space, unpack_space

if TYPE_CHECKING:
    from velora_sb3.checkpoints.format.encoding import Decoder, Encoder

TYPE = "$type"

# Kinds of numbers that safetensors knows.
ARRAY_KINDS = "biufc"
BIT_GENERATORS = {
    kind.__name__: kind
    for kind in (np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox, np.random.SFC64)
}


@dataclass(frozen=True)
class Codec:
    """How one kind of value is stored.

    Attributes:
        tag: What stands for it under ``$type``.
        matches: Whether a value is of the kind.
        pack: Encoder, value and place to what is stored besides the tag.
        unpack: Decoder and what is stored to the value.
    """

    tag: str
    matches: Callable[[Any], bool]
    pack: Callable[[Encoder, Any, str], dict[str, Any]]
    unpack: Callable[[Decoder, dict[str, Any]], Any]


def _is_named_tuple(value: Any) -> bool:
    return isinstance(value, tuple) and hasattr(value, "_fields")


def _items(encoder: Encoder, value: Any, where: str) -> list[Any]:
    return [encoder.encode(entry, f"{where}[{index}]") for index, entry in enumerate(value)]


def _pack_pairs(encoder: Encoder, value: Any, where: str) -> dict[str, Any]:
    pairs = []
    for number, (key, entry) in enumerate(value.items()):
        pairs.append([encoder.encode(key, f"{where} key {number}"), encoder.encode(entry, f"{where}[{key!r}]")])
    return {"ordered": isinstance(value, OrderedDict), "items": pairs}


def _unpack_pairs(decoder: Decoder, data: dict[str, Any]) -> dict[Any, Any]:
    kind = OrderedDict if data["ordered"] else dict
    return kind((decoder.decode(key), decoder.decode(entry)) for key, entry in data["items"])


def _pack_tuple(encoder: Encoder, value: Any, where: str) -> dict[str, Any]:
    as_list = encoder.encode(list(value), where)
    return {"items": as_list}


def _unpack_deque(decoder: Decoder, data: dict[str, Any]) -> deque[Any]:
    return deque(decoder.decode(data["items"]), maxlen=decoder.decode(data["maxlen"]))


def _unpack_train_freq(decoder: Decoder, data: dict[str, Any]) -> tuple[Any, Any]:
    return (decoder.decode(data["frequency"]), decoder.decode(data["unit"]))  # SB3 makes a TrainFreq of it


def _unpack_named_tuple(decoder: Decoder, data: dict[str, Any]) -> Any:
    kind: Any = decoder.allow_list.find(data["class"], tuple)
    return kind(*(decoder.decode(entry) for entry in data["items"]))


def _unpack_enum(decoder: Decoder, data: dict[str, Any]) -> Any:
    kind: Any = decoder.allow_list.find(data["class"], Enum)
    return kind[data["name"]]


def _unpack_scalar(decoder: Decoder, data: dict[str, Any]) -> Any:
    kind: Any = decoder.allow_list.find(f"numpy.{data['dtype']}", np.generic)
    return kind(decoder.decode(data["value"]))


def _pack_array(encoder: Encoder, value: np.ndarray, where: str) -> dict[str, Any]:
    return {"array": encoder.keep(value, where)}


def _unpack_array(decoder: Decoder, data: dict[str, Any]) -> np.ndarray:
    return decoder.array(data["array"]).copy()


def _pack_tensor(encoder: Encoder, value: torch.Tensor, where: str) -> dict[str, Any]:
    return {"array": encoder.keep(value.detach().cpu(), where)}


def _unpack_tensor(decoder: Decoder, data: dict[str, Any]) -> torch.Tensor:
    return decoder.tensor(data["array"]).clone()


def _unpack_dtype(_: Decoder, data: dict[str, Any]) -> Any:
    library, name = data["library"], str(data["name"])
    found = getattr(torch, name, None) if library == "torch" else np.dtype(name)
    if not isinstance(found, torch.dtype | np.dtype):
        raise CheckpointError(f"it names an unknown number type {name!r}")
    return found


def _pack_generator(encoder: Encoder, value: Any, where: str) -> dict[str, Any]:
    legacy = isinstance(value, np.random.RandomState)
    state = value.get_state(legacy=False) if legacy else value.bit_generator.state
    return {"legacy": legacy, "state": encoder.encode(state, where)}


def _unpack_generator(decoder: Decoder, data: dict[str, Any]) -> Any:
    state = decoder.decode(data["state"])
    bits = BIT_GENERATORS.get(state["bit_generator"])
    if bits is None:
        raise CheckpointError(f"it names an unknown random generator {state['bit_generator']!r}")
    generator: Any = np.random.RandomState(bits()) if data["legacy"] else np.random.Generator(bits())
    if data["legacy"]:
        generator.set_state(state)
    else:
        generator.bit_generator.state = state
    return generator


def _is_generator(value: Any) -> bool:
    if isinstance(value, np.random.Generator):
        return type(value.bit_generator).__name__ in BIT_GENERATORS
    return isinstance(value, np.random.RandomState)


def _pack_object(encoder: Encoder, value: Any, where: str) -> dict[str, Any]:
    attributes = {name: encoder.encode(entry, f"{where}.{name}") for name, entry in vars(value).items()}
    return {"class": name_of(type(value)), "attributes": attributes}


def _unpack_object(decoder: Decoder, data: dict[str, Any]) -> Any:
    kind: Any = decoder.allow_list.find(data["class"])
    made = kind.__new__(kind)
    if not is_plain_object(made):
        raise CheckpointError(f"it holds the attributes of a {data['class']}, which must be constructed")
    vars(made).update({str(name): decoder.decode(entry) for name, entry in data["attributes"].items()})
    return made


CODECS: tuple[Codec, ...] = (
    Codec("float", lambda v: type(v) is float, lambda e, v, w: {"value": repr(v)}, lambda d, s: float(s["value"])),
    Codec(
        "train_freq",
        lambda v: isinstance(v, TrainFreq),
        lambda e, v, w: {"frequency": v.frequency, "unit": v.unit.value},
        _unpack_train_freq,
    ),
    Codec(
        "named_tuple",
        _is_named_tuple,
        lambda e, v, w: {"class": name_of(type(v)), "items": _items(e, v, w)},
        _unpack_named_tuple,
    ),
    Codec("tuple", lambda v: type(v) is tuple, _pack_tuple, lambda d, s: tuple(d.decode(s["items"]))),
    Codec(
        "deque",
        lambda v: isinstance(v, deque),
        lambda e, v, w: {"maxlen": v.maxlen, **_pack_tuple(e, v, w)},
        _unpack_deque,
    ),
    Codec("dict", lambda v: type(v) in (dict, OrderedDict), _pack_pairs, _unpack_pairs),
    Codec(
        "enum", lambda v: isinstance(v, Enum), lambda e, v, w: {"class": name_of(type(v)), "name": v.name}, _unpack_enum
    ),
    Codec(
        "class",
        lambda v: isinstance(v, type),
        lambda e, v, w: {"name": name_of(v)},
        lambda d, s: d.allow_list.find(s["name"]),
    ),
    Codec(
        "scalar",
        lambda v: isinstance(v, np.generic) and v.dtype.kind in "biuf" and v.dtype.itemsize <= 8,
        lambda e, v, w: {"dtype": type(v).__name__, "value": e.encode(v.item(), w)},
        _unpack_scalar,
    ),
    Codec(
        "array",
        lambda v: type(v) is np.ndarray and v.dtype.kind in ARRAY_KINDS and v.dtype.itemsize <= 8,
        _pack_array,
        _unpack_array,
    ),
    Codec("tensor", lambda v: isinstance(v, torch.Tensor) and not v.is_sparse, _pack_tensor, _unpack_tensor),
    Codec(
        "dtype",
        lambda v: isinstance(v, torch.dtype) or (isinstance(v, np.dtype) and v.kind in ARRAY_KINDS),
        lambda e, v, w: (
            {"library": "torch", "name": str(v).removeprefix("torch.")}
            if isinstance(v, torch.dtype)
            else {"library": "numpy", "name": v.str}
        ),
        _unpack_dtype,
    ),
    Codec("device", lambda v: isinstance(v, torch.device), lambda e, v, w: {}, lambda d, s: torch.device(d.device)),
    Codec("random_generator", _is_generator, _pack_generator, _unpack_generator),
    Codec("space", lambda v: isinstance(v, spaces.Space), pack_space, unpack_space),
    Codec("object", is_plain_object, _pack_object, _unpack_object),
)
