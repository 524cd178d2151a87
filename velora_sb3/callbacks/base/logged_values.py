"""The latest value of every key of SB3's logger."""

from __future__ import annotations

import difflib
from typing import Any

from stable_baselines3.common.logger import KVWriter, Logger

from velora_sb3._logger_writes import latest_write
from velora_sb3.tracking.writer import sendable


class LoggedValues(KVWriter):
    """Keeps the latest values of SB3's logger, which clears itself at each dump.

    It is one of the logger's outputs, so it receives every row, from SB3, an ``EvalCallback`` or any callback. Only
    numbers are kept, including NaN, infinity, and arrays and tensors of one element. A callback follows the logger from
    its ``_on_start`` to its ``_on_end``, because SB3 creates a new logger for each ``learn()``.

    Attributes:
        values: The latest dumped number of each key.
        timesteps: The timestep of the row that held it.
        counts: How many values of each key were logged so far.
    """

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self.timesteps: dict[str, int] = {}
        self.counts: dict[str, int] = {}
        self._waiting: dict[str, object] = {}  # writes that were counted before they are dumped
        self._logger: Logger | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the logger, whose outputs are open files."""
        return {**vars(self), "_logger": None}

    def follow(self, logger: Logger) -> None:
        """Receive every row from now on. Earlier values are kept.

        Args:
            logger: The model's logger.
        """
        self.leave()
        self._logger = logger
        self._waiting = {key: latest_write(logger, key) for key in list(logger.name_to_value)}  # of a restored run
        logger.output_formats.append(self)

    def leave(self) -> None:
        """Stop receiving rows. Idempotent."""
        if self._logger is not None and self in self._logger.output_formats:
            self._logger.output_formats.remove(self)
        self._logger = None

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Keep the numbers of a row, including those excluded from other outputs."""
        for key, value in numbers_in(key_values).items():
            self.values[key], self.timesteps[key] = value, step
            self._count(key)
            self._waiting.pop(key, None)

    def latest(self) -> dict[str, float]:
        """The latest number of each key, including values recorded but not yet dumped.

        On-policy algorithms record ``train/...`` at the end of an iteration and dump it in the next.

        Returns:
            The numbers by key.
        """
        waiting = {} if self._logger is None else numbers_in(self._logger.name_to_value)
        return {**self.values, **waiting}

    def get(self, key: str) -> float | None:
        """The latest number of a key.

        Args:
            key: Such as ``eval/mean_reward``.

        Returns:
            The number; None if there has been none.
        """
        return self.latest().get(key)

    def count(self, key: str) -> int:
        """How many values of a key were logged so far, dumped or not.

        Args:
            key: Such as ``eval/mean_reward``.

        Returns:
            The number. A value that replaces another before a dump counts if this was called in between.
        """
        if self._logger is not None and key in numbers_in(self._logger.name_to_value):
            self._count(key)
            self._waiting[key] = latest_write(self._logger, key)
        return self.counts.get(key, 0)

    def _count(self, key: str) -> None:
        log = self._logger
        if log is None or key not in log.name_to_value or self._waiting.get(key) is not latest_write(log, key):
            self.counts[key] = self.counts.get(key, 0) + 1

    def unknown(self, key: str) -> str:
        """An error message for a key without a number.

        Args:
            key: The missing key.

        Returns:
            A sentence that lists the available keys and suggests similar ones.
        """
        keys = sorted(self.latest())
        similar = difflib.get_close_matches(key, keys)
        hint = f"; did you mean {' or '.join(map(repr, similar))}?" if similar else "."
        return f"SB3's logger has no number {key!r}{hint} Available: {', '.join(keys) or 'nothing yet'}"

    def close(self) -> None:
        """Nothing is open."""


def numbers_in(row: dict[str, Any]) -> dict[str, float]:
    """The numbers among logged values."""
    plain = {key: sendable(value) for key, value in row.items()}
    return {key: float(value) for key, value in plain.items() if isinstance(value, int | float)}
