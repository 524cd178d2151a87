"""What SB3's logger was told last about training."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

from stable_baselines3.common.logger import KVWriter

PREFIX = "train/"


class LatestLosses(KVWriter):
    """Keeps the latest number under each ``train/...``; one of the logger's outputs.

    The logger forgets what it was told at each dump, so its values are taken at the dump, and once more whenever
    somebody wants the latest.

    Attributes:
        values: The numbers by their full names.
    """

    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Take the values of a dump."""
        self.update(key_values)

    def update(self, values: Mapping[str, Any]) -> None:
        """Take the numbers under ``train/``."""
        for name, value in values.items():
            if name.startswith(PREFIX) and isinstance(value, numbers.Real):
                self.values[name] = float(value)

    def close(self) -> None:
        """Nothing is open."""
