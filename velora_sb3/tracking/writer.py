"""SB3's log, sent to a tracker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.logger import Image, KVWriter, filter_excluded_keys

Log = Callable[[dict[str, Any], int], None]


class TrackingWriter(KVWriter):
    """An output format of SB3's logger that sends every row to a tracker.

    Numbers and text are sent unchanged, arrays as histograms, images as images. ``None`` is skipped; so are figures,
    videos and hyperparameters, which belong to SB3's TensorBoard output.

    Args:
        name: The name of this output in ``logger.record(..., exclude=name)``.
        log: Called with each row and its timestep.
    """

    def __init__(self, name: str, log: Log) -> None:
        self.name = name
        self._log = log

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Send a row.

        Args:
            key_values: The values by key.
            key_excluded: The outputs that a value is excluded from, by its key.
            step: The timestep.
        """
        kept = filter_excluded_keys(key_values, key_excluded, self.name)
        row = {key: sendable(value) for key, value in kept.items()}
        row = {key: value for key, value in row.items() if value is not None}
        if row:
            self._log(row, step)

    def close(self) -> None:
        """Does nothing: the callback ends the run."""


def sendable(value: Any) -> Any:
    """A logged value as plain data.

    Args:
        value: What ``logger.record`` was given.

    Returns:
        A number or string; a numpy array of numbers for a histogram; ``{"image": array}`` with shape ``(H, W)`` or
        ``(H, W, C)``; None if it cannot be sent.
    """
    if isinstance(value, Image):
        return _image(value)
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = (value.double() if value.is_floating_point() else value).numpy()  # numpy has no bfloat16
    if isinstance(value, np.generic | np.ndarray):
        if value.dtype.kind not in "biufU":
            return None
        if value.size != 1:
            return np.asarray(value) if value.size and value.dtype.kind != "U" else None
        value = value.item()
    return value if isinstance(value, bool | int | float | str) else None


def _image(image: Image) -> dict[str, Any] | None:
    pixels, order = sendable(image.image), image.dataformats.upper()
    if not isinstance(pixels, np.ndarray) or pixels.ndim != len(order):
        return None
    if sorted(order) == sorted("HWC"):
        pixels = pixels.transpose([order.index(axis) for axis in "HWC"])
    elif order != "HW":
        return None
    if pixels.dtype.kind == "f":  # as in TensorBoard: from 0 to 1
        pixels = (pixels.clip(0, 1) * 255).astype(np.uint8)
    return {"image": pixels}
