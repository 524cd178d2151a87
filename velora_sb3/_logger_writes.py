"""Which values of SB3's logger are new. Equal numbers can be one object in Python, so writes are counted."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from stable_baselines3.common.logger import Logger

_WRITES = itertools.count()  # of all loggers: each learn() has one of its own


class _CountedValues(defaultdict[str, Any]):
    """SB3's dictionary of values, with the number of the latest write of each key."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(float, values)
        self.writes = {name: next(_WRITES) for name in values}

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)
        self.writes[name] = next(_WRITES)


def latest_writes(logger: Logger) -> Mapping[str, int]:
    """A number for each value that a logger got, another one whenever it is recorded again."""
    if not isinstance(logger.name_to_value, _CountedValues):
        logger.name_to_value = _CountedValues(logger.name_to_value)
    return logger.name_to_value.writes
