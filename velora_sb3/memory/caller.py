"""The algorithm that builds or calls one of its parts."""

from __future__ import annotations

import sys
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm


def calling_algorithm(part: object) -> BaseAlgorithm | None:
    """The algorithm that called the running method of ``part``, its constructor included; None for any other caller.

    SB3's algorithms pass their policy and their replay buffer spaces and settings. None of these leads back to the
    algorithm, and no hook runs between the choice of the class and its constructor. So this looks at the caller.
    """
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_locals.get("self") is not part:  # functions that the method uses
        frame = frame.f_back
    while frame is not None and frame.f_locals.get("self") is part:  # methods of subclasses
        frame = frame.f_back
    caller = None if frame is None else frame.f_locals.get("self")
    return caller if isinstance(caller, BaseAlgorithm) else None
