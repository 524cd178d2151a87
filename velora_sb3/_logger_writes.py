"""Which values of SB3's logger are new. Equal numbers can be one object in Python, so writes are noted."""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import Any

from stable_baselines3.common.logger import Logger

_WRITES = itertools.count()  # of all loggers: each learn() has one of its own


class _NotedValues(defaultdict[str, Any]):
    """SB3's dictionary of values, with the number of the write of each that was looked at; a new write forgets it."""

    def __init__(self, *arguments: Any) -> None:  # those of defaultdict, which copies and pickles with them
        self.writes: dict[str, tuple[Any, int]] = {}
        super().__init__(*arguments)

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)
        self.writes.pop(name, None)


def latest_writes(logger: Logger) -> dict[str, int]:
    """A number for each value that a logger holds, another one whenever it is recorded again."""
    if not isinstance(logger.name_to_value, _NotedValues):
        logger.name_to_value = _NotedValues(float, logger.name_to_value)
    values, writes = logger.name_to_value, logger.name_to_value.writes
    for name, value in values.items():
        if name not in writes or writes[name][0] is not value:  # update() does not call __setitem__
            writes[name] = (value, next(_WRITES))
    return {name: writes[name][1] for name in values}
