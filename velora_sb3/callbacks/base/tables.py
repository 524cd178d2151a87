"""The outputs of SB3's logger that hold text: its tables cut long keys, none of them takes an array."""

from __future__ import annotations

TABLES = ("stdout", "log")
TEXT_OUTPUTS = (*TABLES, "csv", "json")  # they raise for images and arrays
MAX_LENGTH = 36  # of a key in a table, of which its group takes an indent of 3


def excluded(key: str) -> tuple[str, ...] | None:
    """The outputs of SB3's logger to exclude a key from, for ``Logger.record``.

    Tables truncate long keys, and raise if two of them are then the same, which ends training.
    """
    group, _, name = key.partition("/")
    return TABLES if len(f"   {name}" if group and name else key) > MAX_LENGTH else None
