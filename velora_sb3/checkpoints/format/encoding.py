"""Values as plain data: JSON, with arrays and tensors beside it by name.

An object with a ``$type`` stands for what JSON cannot express: arrays, tensors, classes, and the values of
:mod:`velora_sb3.checkpoints.format.codecs`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from velora_sb3.checkpoints.format.allow_list import AllowList, name_of
from velora_sb3.checkpoints.format.codecs import CODECS
from velora_sb3.checkpoints.format.errors import CheckpointError, NotPlainError

TYPE = "$type"
LONGEST_LIST = 32  # longer lists of numbers are stored as arrays
ARRAY_KINDS = "biufc"  # kinds of NumPy numbers that safetensors stores


@dataclass
class Encoder:
    """Turns values into JSON.

    Attributes:
        arrays: The arrays and tensors of the values encoded so far, by name.
    """

    arrays: dict[str, np.ndarray | torch.Tensor] = field(default_factory=dict)

    def encode(self, value: Any, where: str) -> Any:
        """A value as JSON. ``where`` is its place, for errors and the names of arrays."""
        if value is None or type(value) in (bool, int, str) or (type(value) is float and math.isfinite(value)):
            return value
        if type(value) is list:
            if _is_long(value):
                return {TYPE: "numbers", "array": self._add(np.array(value), where)}
            return [self.encode(entry, f"{where}[{index}]") for index, entry in enumerate(value)]
        if type(value) is dict and all(isinstance(key, str) for key in value) and TYPE not in value:
            return {key: self.encode(entry, f"{where}[{key!r}]") for key, entry in value.items()}
        if type(value) is np.ndarray and value.dtype.kind in ARRAY_KINDS and value.dtype.itemsize <= 8:
            return {TYPE: "array", "array": self._add(value, where), **_memory_order(value)}
        if isinstance(value, torch.Tensor) and not value.is_sparse:
            return {TYPE: "tensor", "array": self._add(value.detach().cpu(), where)}
        if isinstance(value, type):
            return {TYPE: "class", "name": name_of(value)}
        if isinstance(value, torch.device):
            return {TYPE: "device"}
        for codec in CODECS:
            if codec.matches(value):
                parts = {key: self.encode(part, f"{where}.{key}") for key, part in codec.pack(value).items()}
                return {TYPE: codec.tag, **parts}
        raise NotPlainError(where, value)

    def _add(self, array: np.ndarray | torch.Tensor, where: str) -> str:
        name, number = where, 1
        while name in self.arrays:
            number += 1
            name = f"{where} {number}"
        self.arrays[name] = array
        return name


@dataclass
class Decoder:
    """Turns JSON back into values. It never imports or calls what is not on the allow list.

    Attributes:
        arrays: Arrays by name.
        allow_list: The classes that the data may name.
        device: Where tensors go.
    """

    arrays: Mapping[str, np.ndarray | torch.Tensor]
    allow_list: AllowList = field(default_factory=AllowList)
    device: torch.device | str = "cpu"

    def decode(self, data: Any) -> Any:
        """The value that was encoded."""
        if data is None or isinstance(data, bool | int | float | str):
            return data
        if isinstance(data, list):
            return [self.decode(entry) for entry in data]
        if not isinstance(data, dict):
            raise CheckpointError(f"it holds a {type(data).__name__} instead of plain data")
        if TYPE not in data:
            return {key: self.decode(entry) for key, entry in data.items()}
        match tag := data[TYPE]:
            case "numbers":
                return self.array(data["array"]).tolist()
            case "array":
                return _in_memory_order(self.array(data["array"]), data.get("axes"))
            case "tensor":
                return torch.as_tensor(self._find(data["array"])).to(self.device).clone()
            case "class":
                return self.allow_list.find(data["name"])
            case "device":
                return torch.device(self.device)
        for codec in CODECS:
            if codec.tag == tag:
                return codec.unpack({key: self.decode(part) for key, part in data.items() if key != TYPE})
        raise CheckpointError(f"it holds data of unknown type {tag!r}: was it written by a newer version?")

    def array(self, name: Any) -> np.ndarray:
        """An array by its name."""
        array = self._find(name)
        return array.cpu().numpy() if isinstance(array, torch.Tensor) else array

    def _find(self, name: Any) -> np.ndarray | torch.Tensor:
        if not isinstance(name, str) or name not in self.arrays:
            raise CheckpointError(f"it refers to the array {name!r}, which is missing")
        return self.arrays[name]


def _memory_order(array: np.ndarray) -> dict[str, Any]:
    """The axes as they follow in memory, unless that is their order: the last bits of a convolution depend on it."""
    axes = sorted(range(array.ndim), key=lambda axis: (-abs(array.strides[axis]), -array.shape[axis]))
    return {} if axes == list(range(array.ndim)) else {"axes": axes}


def _in_memory_order(array: np.ndarray, axes: Any) -> np.ndarray:
    """A copy with the axes in this order in memory."""
    if axes is None:
        return array.copy()
    if sorted(axes) != list(range(array.ndim)):
        raise CheckpointError(f"it orders the axes of an array of shape {array.shape} as {axes!r}")
    return array.transpose(axes).copy().transpose(np.argsort(axes))


def _is_long(values: list[Any]) -> bool:
    if len(values) <= LONGEST_LIST:
        return False
    kinds = set(map(type, values))
    if kinds == {int}:
        return all(-(2**63) <= value < 2**63 for value in values)
    return kinds in ({float}, {bool})
