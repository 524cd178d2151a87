"""The latest losses in SB3's logger."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

from stable_baselines3.common.logger import KVWriter

PREFIX = "train/"


class LatestLosses(KVWriter):
    """An output of the logger that keeps the latest number of each ``train/...`` key.

    The logger clears itself at each dump, so values are read at the dump, and from the logger in between.

    Attributes:
        values: The numbers by key.
    """

    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Keep the numbers of a dump."""
        self.update(key_values)

    def update(self, values: Mapping[str, Any]) -> None:
        """Keep the numbers under ``train/``."""
        for name, value in values.items():
            if name.startswith(PREFIX) and isinstance(value, numbers.Real):
                self.values[name] = float(value)

    def close(self) -> None:
        """Nothing is open."""
