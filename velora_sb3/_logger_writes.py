"""Which values of SB3's logger are new. Equal numbers can be one object in Python, so each write has a token."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from stable_baselines3.common.logger import Logger


class _NotedValues(defaultdict[str, Any]):
    """SB3's dictionary of values, with the token of each that was looked at; a new write forgets it."""

    def __init__(self, *arguments: Any) -> None:  # those of defaultdict, which copies and pickles with them
        self.tokens: dict[str, tuple[Any, object]] = {}
        super().__init__(*arguments)

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)
        self.tokens.pop(name, None)


def latest_write(logger: Logger, name: str) -> object:
    """A token of a value that a logger holds: another object whenever the value is recorded again."""
    if not isinstance(logger.name_to_value, _NotedValues):
        logger.name_to_value = _NotedValues(float, logger.name_to_value)
    value, tokens = logger.name_to_value[name], logger.name_to_value.tokens
    if name not in tokens or tokens[name][0] is not value:  # update() does not call __setitem__
        tokens[name] = (value, object())
    return tokens[name][1]
