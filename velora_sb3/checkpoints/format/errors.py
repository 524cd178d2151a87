"""The errors of checkpoints."""

from __future__ import annotations

from typing import Any


class CheckpointError(ValueError):
    """A checkpoint cannot be written, read or used. The message names the file or the argument, and the remedy."""


class NotPlainError(TypeError):
    """A value cannot be stored as plain data."""

    def __init__(self, where: str, value: Any) -> None:
        name = getattr(value, "__qualname__", None)
        what = f"{type(value).__name__} {name}" if name else f"of type {type(value).__name__}"
        super().__init__(f"{where} ({what}) is not plain data")
        self.where, self.value = where, value
