"""Which algorithm a policy class belongs to, and which algorithm is building it."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy

from velora_sb3.memory.caller import calling_algorithm

ALIAS = "LiquidPolicy"


def policy_for(algorithm: type[BaseAlgorithm]) -> type[BasePolicy] | None:
    """The class behind an algorithm's alias ``"LiquidPolicy"``.

    Args:
        algorithm: An algorithm class.

    Returns:
        The policy class; None if neither the algorithm nor a class that it derives from knows the alias.
    """
    for parent in algorithm.__mro__:
        policy: type[BasePolicy] | None = vars(parent).get("policy_aliases", {}).get(ALIAS)
        if policy is not None:
            return policy
    return None


def check_algorithm(algorithm: BaseAlgorithm, recurrent: bool = False) -> None:
    """Check that an algorithm's policy class is of the algorithm's family.

    SB3 builds a policy of another family without complaint and fails later, with an error about something else.

    Args:
        algorithm: The algorithm. One without the alias ``"LiquidPolicy"`` takes any policy.
        recurrent: Whether the policy needs an algorithm that carries its memory from step to step.

    Raises:
        TypeError: If the class belongs to another algorithm, naming the right one.
        ValueError: If the policy is recurrent and the algorithm is not.
    """
    name, policy_class, expected = type(algorithm).__name__, algorithm.policy_class, policy_for(type(algorithm))
    if expected is None:
        return
    if not issubclass(policy_class, expected):
        raise TypeError(
            f"{policy_class.__name__} is not a policy for {name}: "
            f"use {expected.__module__.rpartition('.')[0]}.{expected.__name__}, or the alias {ALIAS!r}"
        )
    if recurrent and not getattr(algorithm, "carries_memory", False):
        raise ValueError(f"{name} has no memory between steps, and its policy is recurrent: use Recurrent{name}")


def check_replay(algorithm: BaseAlgorithm, space: spaces.Space[Any]) -> None:
    """Raise ``ValueError`` for numbers as observations, which SB3's replay buffers fail to sample."""
    buffer_class = getattr(algorithm, "replay_buffer_class", None)
    if buffer_class is None or not buffer_class.__module__.startswith("stable_baselines3."):
        return
    entries = space.spaces if isinstance(space, spaces.Dict) else {"": space}
    for key, entry in entries.items():
        if isinstance(entry, spaces.Box) and entry.shape == ():
            name = f"observation[{key!r}] is" if key else "the observation is"
            raise ValueError(
                f"{name} a number, {entry}, which SB3's replay buffer cannot sample: make it a vector of one number "
                "with gymnasium.wrappers.ReshapeObservation(env, (1,))"
            )


def check_action_range(algorithm: BaseAlgorithm, space: spaces.Space[Any]) -> None:
    """Raise ``ValueError`` for actions without a range, which off-policy algorithms would divide by."""
    if isinstance(algorithm, OffPolicyAlgorithm) and isinstance(space, spaces.Box) and np.any(space.low == space.high):
        raise ValueError(
            f"{type(algorithm).__name__} scales actions to [-1, 1], but low equals high in {space}, which gives NaN: "
            "leave out the actions that cannot vary, with gymnasium.wrappers.TransformAction"
        )


def building_algorithm(policy: BasePolicy) -> BaseAlgorithm | None:
    """The algorithm that is building a policy; None if it is built otherwise, as by ``policy.load``.

    Recurrent algorithms check their policy class themselves.
    """
    algorithm = calling_algorithm(policy)
    builds_its_own = getattr(algorithm, "policy_class", None) is type(policy)
    return algorithm if builds_its_own else None
