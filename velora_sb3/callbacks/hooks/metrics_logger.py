"""Metrics that hooks log, reduced for SB3's logger."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Number
from typing import Any

import numpy as np
from stable_baselines3.common.logger import KVWriter

from velora_sb3.callbacks.base.tables import TEXT_OUTPUTS, excluded
from velora_sb3.callbacks.hooks.reductions import NUMERIC, Reduction, new_reduction

Key = str | tuple[str, ...]


class MetricsLogger:
    """Collects values, reduces them, and adds them to each row of SB3's logger.

    A row holds what was logged since the previous row. The parts of a key are joined by slashes. Numeric reductions
    leave out NaN unless there is nothing else. Long keys are left out of SB3's tables, which cannot hold them.

    Args:
        prefix: Prepended to every key in SB3's logger.
    """

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self._reductions: dict[str, Reduction] = {}

    def log_value(
        self,
        key: Key,
        value: Any,
        *,
        reduce: str | None = None,
        window: int | None = None,
        ema_coeff: float | None = None,
        clear_on_reduce: bool | None = None,
    ) -> None:
        """Log a value. The first value of a key fixes its reduction.

        Args:
            key: The key, ``"a/b"`` or ``("a", "b")``.
            value: A number; for ``item`` and ``item_series`` anything that SB3's logger takes, such as ``Image``.
            reduce: ``mean``, ``min``, ``max`` or ``sum`` of the values since the last row; ``ema``, a moving average;
                ``lifetime_sum``; ``item``, the latest value; ``item_series``, a list. None for ``mean``, or ``item`` if
                the value is not a number.
            window: Reduce this many latest values instead of those since the last row.
            ema_coeff: Weight of a new value in the moving average; None for 0.01.
            clear_on_reduce: Whether a row clears the values. None for the default of ``reduce`` and ``window``.

        Raises:
            ValueError: If the settings contradict each other or those of the key's first value.
            TypeError: If the reduction needs a number and the value is not one.
        """
        name = _name(key)
        known = self._reductions.get(name)
        if known is None:
            if reduce is None and ema_coeff is None and not is_number(value):
                reduce = "item"
            known = new_reduction(name, reduce, window, ema_coeff, clear_on_reduce)
            known.push(value)  # first: it may raise
            self._reductions[name] = known
            return
        if reduce == "mean" and known.reduce == "ema":  # an ema, declared by its coefficient
            reduce = None
        given = {"reduce": reduce, "window": window, "ema_coeff": ema_coeff, "clear_on_reduce": clear_on_reduce}
        for setting, wanted in given.items():
            if wanted is not None and wanted != getattr(known, setting):
                raise ValueError(
                    f"{name} was first logged with {setting}={getattr(known, setting)!r}, now with {wanted!r}: use the "
                    "same settings, or another key"
                )
        known.push(value)

    def log_dict(self, value_dict: Mapping[str, Any], *, key: Key | None = None, **settings: Any) -> None:
        """Log several values.

        Args:
            value_dict: Values by key; nested dicts are keys with several parts.
            key: Prefix of the keys.
            **settings: As for :meth:`log_value`, the same for all.
        """
        for name, value in value_dict.items():
            place = name if key is None else (_name(key), name)
            if isinstance(value, Mapping):
                self.log_dict(value, key=place, **settings)
            else:
                self.log_value(place, value, **settings)

    @contextmanager
    def log_time(self, key: Key, *, reduce: str = "ema", **settings: Any) -> Iterator[None]:
        """Log the duration of a ``with`` block in seconds.

        Args:
            key: The key.
            reduce: As for :meth:`log_value`.
            **settings: As for :meth:`log_value`.
        """
        start = time.perf_counter()
        try:
            yield
        finally:
            self.log_value(key, time.perf_counter() - start, reduce=reduce, **settings)

    def peek(self, key: Key | None = None, *, default: Any = None) -> Any:
        """The reduced value of a key: of the values since the last row, or else the value in that row.

        Args:
            key: The key, or a prefix of several keys; None for all.
            default: Returned if there are no values; None to raise instead.

        Returns:
            The reduced value; a nested dict for several keys.

        Raises:
            KeyError: If there are no values under the key, and no default.
        """
        name = "" if key is None else _name(key)
        found = self._reductions.get(name)
        if found is not None and (value := found.peek()) is not None:
            return value
        start = f"{name}/" if name else ""
        below: dict[str, Any] = {}
        for other, reduction in self._reductions.items():
            if other.startswith(start) and (value := reduction.peek()) is not None:
                _put(below, other.removeprefix(start).split("/"), value)
        if below or key is None:
            return below
        if default is not None:
            return default
        raise KeyError(f"unknown metric {name!r}: logged so far are {', '.join(self._reductions) or 'none'}")

    @property
    def is_fresh(self) -> bool:
        """Whether a value was logged since the last row."""
        return any(reduction.fresh for reduction in self._reductions.values())

    def reduce(self) -> dict[str, Any]:
        """The reduced values for a row of SB3's logger; clears those that are cleared by a row.

        Returns:
            Reduced values by key.
        """
        row: dict[str, Any] = {}
        for name, reduction in self._reductions.items():
            if reduction.fresh:
                value = reduction.peek()
                if reduction.reduce == "item_series":
                    value = np.array(value) if all(map(is_number, value)) else value[-1]
                row[self.prefix + name] = value
                reduction.clear()
        return row

    def state_dict(self) -> dict[str, Any]:
        """The values that a resumed run needs; items are not saved."""
        return {
            name: {
                "settings": [one.reduce, one.window, one.ema_coeff, one.clear_on_reduce],
                "values": [one.fresh, list(one.latest), one.folded, one.count, one.written],
            }
            for name, one in self._reductions.items()
            if one.reduce in NUMERIC
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state.

        Args:
            state: A state from :meth:`state_dict`.
        """
        self._reductions.clear()
        for name, saved in state.items():
            one = self._reductions[name] = Reduction(name, *saved["settings"])
            one.fresh, latest, one.folded, one.count, one.written = saved["values"]
            one.latest.extend(latest)

    def take_over(self, other: MetricsLogger) -> None:
        """Continue with the values of another logger, which must not be used any more."""
        self._reductions = other._reductions


class MetricsWriter(KVWriter):
    """An output of SB3's logger that adds metrics to each row, for the outputs after it."""

    def __init__(self, loggers: Sequence[MetricsLogger]) -> None:
        self.loggers = loggers

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Add the metrics to a row."""
        for logger in self.loggers:
            for name, value in logger.reduce().items():
                key_values[name] = value
                is_text = is_number(value) or isinstance(value, str)
                key_excluded[name] = (excluded(name) or ("",)) if is_text else TEXT_OUTPUTS

    def close(self) -> None:
        """Nothing."""


def _name(key: Key) -> str:
    name = key if isinstance(key, str) else "/".join(key)
    if not name:
        raise ValueError(f"key must be a non-empty string or tuple of strings, got {key!r}")
    return name


def _put(tree: dict[str, Any], path: list[str], value: Any) -> None:
    """Put a value into a nested dict; a key that is also a prefix of others has its value under ``""``."""
    for part in path[:-1]:
        if not isinstance(tree.get(part, {}), dict):
            tree[part] = {"": tree[part]}
        tree = tree.setdefault(part, {})
    if isinstance(tree.get(path[-1]), dict):
        tree[path[-1]][""] = value
    else:
        tree[path[-1]] = value


def is_number(value: Any) -> bool:
    """Whether a value is a number, perhaps in an array without dimensions."""
    return isinstance(value, Number | np.bool_) or getattr(value, "shape", None) == ()
