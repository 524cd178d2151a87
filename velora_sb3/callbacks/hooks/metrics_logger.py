"""Values that hooks log, on their way into SB3's logger."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Number
from typing import Any

import numpy as np
from stable_baselines3.common.logger import KVWriter

from velora_sb3.callbacks.hooks.reductions import NUMERIC, Reduction, new_reduction

Key = str | tuple[str, ...]
TEXT_OUTPUTS = ("stdout", "log", "csv", "json")  # of SB3; they raise for pictures


class MetricsLogger:
    """Collects values, reduces them, and hands them to SB3's logger whenever SB3 writes a row.

    A row has what was logged since the row before. Names with several parts are joined by a slash.

    Args:
        prefix: Stands in front of every name in SB3's logger.
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
        """Log a value. The first one under a name settles how values of that name are reduced.

        Args:
            key: Its name, ``"a/b"`` or ``("a", "b")``.
            value: A number; for ``item`` and ``item_series`` whatever SB3's logger takes, as ``Image`` and ``Figure``.
            reduce: ``mean``, ``min``, ``max`` or ``sum`` of the values since the last row; ``ema``, a moving average;
                ``lifetime_sum``; ``item``, the latest value; ``item_series``, a list. None for ``mean``, or ``item`` if
                the value is no number.
            window: Reduce the latest so many values instead of those since the last row.
            ema_coeff: Weight of a new value in the moving average; 0.01 if there is none.
            clear_on_reduce: Whether values are forgotten when a row was written. None for what ``reduce`` and
                ``window`` say.

        Raises:
            ValueError: If the settings make no sense together, or differ from those of the first value.
            TypeError: If a number is needed and the value is none.
        """
        name = _name(key)
        known = self._reductions.get(name)
        if known is None:
            if reduce is None and ema_coeff is None and not _is_number(value):
                reduce = "item"
            known = new_reduction(name, reduce, window, ema_coeff, clear_on_reduce)
            known.push(value)  # before it is kept: it may be refused
            self._reductions[name] = known
            return
        if reduce == "mean" and known.reduce == "ema":  # as which it began
            reduce = None
        given = {"reduce": reduce, "window": window, "ema_coeff": ema_coeff, "clear_on_reduce": clear_on_reduce}
        for setting, wanted in given.items():
            if wanted is not None and wanted != getattr(known, setting):
                raise ValueError(
                    f"{name} was logged first with {setting}={getattr(known, setting)!r}, and now with {wanted!r}: use "
                    "another key, or the same settings"
                )
        known.push(value)

    def log_dict(self, value_dict: Mapping[str, Any], *, key: Key | None = None, **settings: Any) -> None:
        """Log several values at once.

        Args:
            value_dict: Values by name; dicts within it are names with several parts.
            key: What stands in front of the names.
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
        """Log how many seconds a ``with`` block took.

        Args:
            key: The name.
            reduce: As for :meth:`log_value`.
            **settings: As for :meth:`log_value`.
        """
        start = time.perf_counter()
        try:
            yield
        finally:
            self.log_value(key, time.perf_counter() - start, reduce=reduce, **settings)

    def peek(self, key: Key | None = None, *, default: Any = None) -> Any:
        """What the values of a name come to: those since the last row, or if there are none, what that row got.

        Args:
            key: The name, or the first parts of several; None for all.
            default: What to return if there are no values; None for an error.

        Returns:
            The reduced value; a nested dict for several names.

        Raises:
            KeyError: If there are no values under the name, and no default.
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
        raise KeyError(f"nothing is logged under {name!r}, only under {', '.join(self._reductions) or 'nothing'}")

    @property
    def is_fresh(self) -> bool:
        """Whether a value came since the last row."""
        return any(reduction.fresh for reduction in self._reductions.values())

    def reduce(self) -> dict[str, Any]:
        """What a row of SB3's logger gets. Values that are not to last are forgotten.

        Returns:
            Reduced values by name.
        """
        row: dict[str, Any] = {}
        for name, reduction in self._reductions.items():
            if reduction.fresh:
                value = reduction.peek()
                if reduction.reduce == "item_series":
                    value = np.array(value) if all(map(_is_number, value)) else value[-1]
                row[self.prefix + name] = value
                reduction.clear()
        return row

    def state_dict(self) -> dict[str, Any]:
        """The values that a later run must know; items are not among them."""
        return {
            name: {
                "settings": [one.reduce, one.window, one.ema_coeff, one.clear_on_reduce],
                "values": [one.fresh, list(one.latest), one.folded, one.count, one.written],
            }
            for name, one in self._reductions.items()
            if one.reduce in NUMERIC
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state.

        Args:
            state: What :meth:`state_dict` gave.
        """
        self._reductions.clear()
        for name, saved in state.items():
            one = self._reductions[name] = Reduction(name, *saved["settings"])
            one.fresh, latest, one.folded, one.count, one.written = saved["values"]
            one.latest.extend(latest)

    def take_over(self, other: MetricsLogger) -> None:
        """Go on with the values of another, which must not be used any more.

        Args:
            other: The other.
        """
        self._reductions = other._reductions


class MetricsWriter(KVWriter):
    """An output of SB3's logger that writes nothing: it puts metrics into the row, for the outputs after it."""

    def __init__(self, loggers: Sequence[MetricsLogger]) -> None:
        self.loggers = loggers

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Add to a row."""
        for logger in self.loggers:
            for name, value in logger.reduce().items():
                key_values[name] = value
                key_excluded[name] = ("",) if _is_number(value) or isinstance(value, str) else TEXT_OUTPUTS

    def close(self) -> None:
        """Nothing."""


def _name(key: Key) -> str:
    name = key if isinstance(key, str) else "/".join(key)
    if not name:
        raise ValueError(f"key must be a name, or several in a tuple, got {key!r}")
    return name


def _put(tree: dict[str, Any], path: list[str], value: Any) -> None:
    """Put a value into a nested dict; a name that is both a value and a part of names has its value under ``""``."""
    for part in path[:-1]:
        if not isinstance(tree.get(part, {}), dict):
            tree[part] = {"": tree[part]}
        tree = tree.setdefault(part, {})
    if isinstance(tree.get(path[-1]), dict):
        tree[path[-1]][""] = value
    else:
        tree[path[-1]] = value


def _is_number(value: Any) -> bool:
    return isinstance(value, Number | np.bool_) or getattr(value, "shape", None) == ()
