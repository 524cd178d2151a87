"""Values as plain data: JSON, with arrays and tensors beside it by their names.

What JSON has no word for is an object with a ``$type``: see :mod:`velora_sb3.checkpoints.format.codecs`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from velora_sb3.checkpoints.format.allow_list import AllowList
from velora_sb3.checkpoints.format.codecs import CODECS, TYPE
from velora_sb3.checkpoints.format.errors import CheckpointError, NotPlainError

# Lists of numbers that are longer become arrays.
LONGEST_LIST = 32


@dataclass
class Encoder:
    """Turns values into JSON.

    Attributes:
        arrays: The arrays and tensors that were met, by name.
    """

    arrays: dict[str, np.ndarray | torch.Tensor] = field(default_factory=dict)

    def encode(self, value: Any, where: str) -> Any:
        """A value as JSON can hold it."""
        if value is None or type(value) in (bool, int, str) or (type(value) is float and math.isfinite(value)):
            return value
        if type(value) is list:
            if _is_long(value):
                return {TYPE: "numbers", "array": self.keep(np.array(value), where)}
            return [self.encode(entry, f"{where}[{index}]") for index, entry in enumerate(value)]
        if type(value) is dict and all(isinstance(key, str) for key in value) and TYPE not in value:
            return {key: self.encode(entry, f"{where}[{key!r}]") for key, entry in value.items()}
        for codec in CODECS:
            if codec.matches(value):
                return {TYPE: codec.tag, **codec.pack(self, value, where)}
        raise NotPlainError(where, value)

    def keep(self, array: np.ndarray | torch.Tensor, where: str) -> str:
        """Put an array aside."""
        name, number = where, 1
        while name in self.arrays:
            number += 1
            name = f"{where} {number}"
        self.arrays[name] = array
        return name


@dataclass
class Decoder:
    """Turns JSON back into values. Nothing is imported or called that is not on the list.

    Attributes:
        arrays: Arrays by name.
        allow_list: The classes that may be named.
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
            raise CheckpointError(f"it holds a {type(data).__name__} where plain data must stand")
        if TYPE not in data:
            return {key: self.decode(entry) for key, entry in data.items()}
        tag = data[TYPE]
        if tag == "numbers":
            return self.array(data["array"]).tolist()
        for codec in CODECS:
            if codec.tag == tag:
                return codec.unpack(self, data)
        raise CheckpointError(f"it holds data of an unknown type {tag!r}: was it written by a newer version?")

    def array(self, name: Any) -> np.ndarray:
        """An array that was put aside."""
        if not isinstance(name, str) or name not in self.arrays:
            raise CheckpointError(f"it refers to the array {name!r}, which is not there")
        array = self.arrays[name]
        return array.cpu().numpy() if isinstance(array, torch.Tensor) else array

    def tensor(self, name: Any) -> torch.Tensor:
        """A tensor that was put aside, on the device."""
        array = self.arrays.get(name) if isinstance(name, str) else None
        if array is None:
            raise CheckpointError(f"it refers to the tensor {name!r}, which is not there")
        return torch.as_tensor(array).to(self.device)


def _is_long(values: list[Any]) -> bool:
    if len(values) <= LONGEST_LIST:
        return False
    kinds = set(map(type, values))
    if kinds == {int}:
        return all(-(2**63) <= value < 2**63 for value in values)
    return kinds in ({float}, {bool})
