"""The algorithms by their names on the command line, and the capabilities of each."""

from __future__ import annotations

import re
from typing import Any

import gymnasium as gym
from gymnasium import spaces
from sb3_contrib.common.maskable.utils import is_masking_supported
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from velora_sb3 import algorithms as recurrent
from velora_sb3._validation import takes_masks
from velora_sb3.cli.errors import UserError, unknown
from velora_sb3.policies import ALIAS, POLICIES

ALIASES = {"ppo_lstm": "recurrent_ppo"}  # RL Zoo's name

ACTION_SPACES: dict[str, spaces.Space[Any]] = {
    "Box": spaces.Box(-1.0, 1.0, (1,)),
    "Discrete": spaces.Discrete(2),
    "MultiDiscrete": spaces.MultiDiscrete([2, 2]),
    "MultiBinary": spaces.MultiBinary(2),
}


class _Probe(gym.Env[object, object]):
    """An environment with spaces only, to test whether an algorithm supports them."""

    def __init__(self, action_space: spaces.Space[Any]) -> None:
        self.observation_space = spaces.Box(-1.0, 1.0, (1,))
        self.action_space = action_space


def command_name(algorithm: type[BaseAlgorithm]) -> str:
    """An algorithm's name on the command line: ``recurrent_ppo`` for ``RecurrentPPO``, ``crossq`` for ``CrossQ``."""
    return command_name_of(algorithm.__name__)


def command_name_of(class_name: str) -> str:
    """An algorithm's name on the command line, from the name of its class."""
    return re.sub(r"(?<=[a-z])(?=[A-Z][A-Za-z])", "_", class_name).lower()


def algorithms() -> dict[str, type[BaseAlgorithm]]:
    """All algorithms that have a liquid policy, by name; of two RecurrentPPOs, ours."""
    known = [*POLICIES, *(getattr(recurrent, name) for name in recurrent.__all__)]
    return {command_name(algorithm): algorithm for algorithm in known}


def find_algorithm(name: str) -> tuple[str, type[BaseAlgorithm]]:
    """The proper name and the class of an algorithm."""
    known = algorithms()
    proper = name.lower().replace("-", "_")
    proper = ALIASES.get(proper, proper)
    if proper not in known:
        raise unknown("algorithm", name, {*known, *ALIASES})
    return proper, known[proper]


def action_spaces(algorithm: type[BaseAlgorithm]) -> list[str]:
    """The kinds of action space that an algorithm supports, according to its constructor."""
    return [name for name, space in ACTION_SPACES.items() if can_act(algorithm, space)]


def can_act(algorithm: type[BaseAlgorithm], space: spaces.Space[Any]) -> bool:
    """Whether an algorithm supports an action space. Builds no network."""
    try:
        algorithm(ALIAS, _Probe(space), device="cpu", _init_setup_model=False)  # type: ignore[call-arg]
    except AssertionError:
        return False
    return True


def memory_kinds(algorithm: type[BaseAlgorithm]) -> list[str]:
    """The kinds of memory that a liquid policy of an algorithm can have."""
    return ["recurrent"] if algorithm.__name__.startswith("Recurrent") else ["reactive", "windowed"]


def check_action_space(algorithm: type[BaseAlgorithm], env: gym.Env[object, object], env_id: str) -> None:
    """Raise if an algorithm does not support the action space of an environment."""
    if not can_act(algorithm, env.action_space):
        able = [name for name, other in algorithms().items() if can_act(other, env.action_space)]
        hint = f"; use {', '.join(able)}" if able else ""
        raise UserError(
            f"{algorithm.__name__} does not support the action space of {env_id}, {env.action_space}; it supports "
            f"{', '.join(action_spaces(algorithm))}{hint}"
        )


def check_masks(algorithm: type[BaseAlgorithm], env: gym.Env[Any, Any] | VecEnv, env_id: str) -> None:
    """Raise if an algorithm needs action masks and an environment has none."""
    if takes_masks(algorithm) and not is_masking_supported(env):
        unmasked = command_name(algorithm).replace("maskable_", "")
        raise UserError(
            f"{algorithm.__name__} needs an environment with a method action_masks(), and {env_id} has none: use "
            f"{unmasked}"
        )
