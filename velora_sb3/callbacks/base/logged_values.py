"""The latest number under every key of SB3's logger."""

from __future__ import annotations

import difflib
from typing import Any

from stable_baselines3.common.logger import KVWriter, Logger

from velora_sb3.tracking.writer import sendable


class LoggedValues(KVWriter):
    """Remembers what SB3's logger forgets: it empties itself at each dump.

    One of the logger's outputs, so it sees every row, whoever dumps it: SB3, an ``EvalCallback``, any callback. Only
    numbers are kept, NaN and infinity too, also arrays and tensors of one element. A callback follows the logger from
    its ``_on_start`` to its ``_on_end``: SB3 makes a new logger for each ``learn()``.

    Attributes:
        values: The latest dumped number under each key.
        timesteps: The timestep of the row that it stood in.
    """

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self.timesteps: dict[str, int] = {}
        self._logger: Logger | None = None

    def follow(self, logger: Logger) -> None:
        """See every row from now on. What was seen before stays known.

        Args:
            logger: The model's logger.
        """
        self.leave()
        self._logger = logger
        logger.output_formats.append(self)

    def leave(self) -> None:
        """See no more rows. More than one call does no harm."""
        if self._logger is not None and self in self._logger.output_formats:
            self._logger.output_formats.remove(self)
        self._logger = None

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Take in a row, also what other outputs are not to have."""
        for key, value in numbers_in(key_values).items():
            self.values[key], self.timesteps[key] = value, step

    def latest(self) -> dict[str, float]:
        """The latest number under each key, also what was recorded but not yet dumped.

        With an on-policy algorithm ``train/...`` is recorded at the end of an iteration and dumped in the next.

        Returns:
            The numbers by key.
        """
        waiting = {} if self._logger is None else numbers_in(self._logger.name_to_value)
        return {**self.values, **waiting}

    def get(self, key: str) -> float | None:
        """The latest number under a key.

        Args:
            key: Such as ``eval/mean_reward``.

        Returns:
            The number; None if there has been none.
        """
        return self.latest().get(key)

    def unknown(self, key: str) -> str:
        """Why a key has no number, for an error.

        Args:
            key: The key that was looked for.

        Returns:
            A sentence with the keys that there are, and those most like it.
        """
        keys = sorted(self.latest())
        similar = difflib.get_close_matches(key, keys)
        hint = f"; did you mean {' or '.join(map(repr, similar))}?" if similar else "."
        return f"SB3's logger has no number {key!r}{hint} It has: {', '.join(keys) or 'nothing yet'}"

    def close(self) -> None:
        """Nothing is open."""


def numbers_in(row: dict[str, Any]) -> dict[str, float]:
    """The numbers among logged values."""
    plain = {key: sendable(value) for key, value in row.items()}
    return {key: float(value) for key, value in plain.items() if isinstance(value, int | float)}
