"""Does a policy class belong to the algorithm that is building it?"""

from __future__ import annotations

import inspect

from stable_baselines3.common.base_class import BaseAlgorithm


def check_algorithm(policy_class: type, recurrent: bool = False) -> None:
    """Raise ``TypeError`` if a known algorithm is building a policy of another family.

    SB3 hands a policy everything but the algorithm, and a policy of the wrong family fails only later, with an
    error about something else. So the algorithm is looked up among the callers. A policy built by nobody's
    algorithm (``policy.load``) or by one that is not in the table is let through.

    Args:
        policy_class: The policy being built.
        recurrent: Whether it expects its algorithm to carry a memory.

    Raises:
        TypeError: Naming the right class.
        ValueError: If a policy that remembers is built by an algorithm that does not carry its memory.
    """
    from velora_sb3.policies.registry import policy_for

    algorithm = building_algorithm(policy_class)
    if algorithm is None:
        return
    expected = policy_for(type(algorithm))
    if expected is not None and not issubclass(policy_class, expected):
        raise TypeError(
            f"{policy_class.__name__} is not a policy for {type(algorithm).__name__}: "
            f"use {expected.__module__.rpartition('.')[0]}.{expected.__name__}, or the alias 'LiquidPolicy'"
        )

    if expected is not None and recurrent and not getattr(algorithm, "carries_memory", False):
        name = type(algorithm).__name__
        raise ValueError(
            f"{name} carries no memory from step to step: use Recurrent{name}, which sets recurrent=True itself"
        )


def building_algorithm(policy_class: type) -> BaseAlgorithm | None:
    """The algorithm that is building a policy."""
    frame = inspect.currentframe()
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, BaseAlgorithm) and getattr(caller, "policy_class", None) is policy_class:
            return caller
        frame = frame.f_back
    return None
