"""Writing safetensors files, straight from the arrays.

References:
    https://github.com/huggingface/safetensors, "Format". The library itself reads what is written here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from velora_sb3.checkpoints.format.errors import CheckpointError

Arrays = Mapping[str, np.ndarray | torch.Tensor]

# The format's names of number types.
NAMES = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "uint16": "U16", "int16": "I16", "uint32": "U32", "int32": "I32",
    "uint64": "U64", "int64": "I64", "float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64",
    "complex64": "C64",
}  # fmt: skip
ALIGNMENT = 8  # bytes


def write_tensors(path: Path, arrays: Arrays, metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file."""
    parts = [(name, *_plain(array)) for name, array in arrays.items()]
    parts.sort(key=lambda part: part[1].itemsize, reverse=True)  # keeps every array aligned
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": dict(metadata)}
    end = 0
    for name, array, kind in parts:
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [end, end := end + array.nbytes]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    with path.open("wb") as file:
        for data in (len(text).to_bytes(8, "little"), text, *(_bytes(array) for _, array, _ in parts)):
            file.write(data)


def _plain(array: np.ndarray | torch.Tensor) -> tuple[np.ndarray, str]:
    """A contiguous little-endian array, and the format's name of its type."""
    if isinstance(array, torch.Tensor):
        kind = str(array.dtype).removeprefix("torch.")
        tensor = array.detach().cpu()
        if tensor.dtype is torch.bfloat16:  # which NumPy lacks
            tensor = tensor.view(torch.int16)
        array = tensor.numpy()
    else:
        kind = array.dtype.name
    if kind not in NAMES:
        raise CheckpointError(f"numbers of type {kind} cannot be stored: convert them to one of {', '.join(NAMES)}")
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C"), NAMES[kind]


def _bytes(array: np.ndarray) -> Any:
    return array.reshape(-1).view(np.uint8).data
