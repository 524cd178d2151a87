"""The algorithms by their names on the command line, and what each can do."""

from __future__ import annotations

import inspect
import re
from typing import Any

import gymnasium as gym
from gymnasium import spaces
from sb3_contrib.common.maskable.utils import is_masking_supported
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from velora_sb3 import algorithms as recurrent
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
    """An env with nothing but spaces, to ask an algorithm whether it takes them."""

    def __init__(self, action_space: spaces.Space[Any]) -> None:
        self.observation_space = spaces.Box(-1.0, 1.0, (1,))
        self.action_space = action_space


def command_name(algorithm: type[BaseAlgorithm]) -> str:
    """The name of an algorithm on the command line: ``RecurrentPPO`` is ``recurrent_ppo``, ``CrossQ`` ``crossq``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z][A-Za-z])", "_", algorithm.__name__).lower()


def algorithms() -> dict[str, type[BaseAlgorithm]]:
    """Every algorithm that has a liquid policy."""
    known = [*POLICIES, *(getattr(recurrent, name) for name in recurrent.__all__)]
    return {command_name(algorithm): algorithm for algorithm in known}


def find_algorithm(name: str) -> tuple[str, type[BaseAlgorithm]]:
    """Look an algorithm up."""
    known = algorithms()
    proper = name.lower().replace("-", "_")
    proper = ALIASES.get(proper, proper)
    if proper not in known:
        raise unknown("algorithm", name, {*known, *ALIASES})
    return proper, known[proper]


def action_spaces(algorithm: type[BaseAlgorithm]) -> list[str]:
    """The kinds of action space that an algorithm takes, asked of its own constructor."""
    return [name for name, space in ACTION_SPACES.items() if can_act(algorithm, space)]


def can_act(algorithm: type[BaseAlgorithm], space: spaces.Space[Any]) -> bool:
    """Whether an algorithm can act in an action space. No network is built for the answer."""
    try:
        algorithm(ALIAS, _Probe(space), device="cpu", _init_setup_model=False)  # type: ignore[call-arg]
    except AssertionError:
        return False
    return True


def takes_masks(algorithm: type[BaseAlgorithm]) -> bool:
    """Whether an algorithm can be told which actions are allowed."""
    return "action_masks" in inspect.signature(algorithm.predict).parameters


def memory_kinds(algorithm: type[BaseAlgorithm]) -> list[str]:
    """What a liquid policy of an algorithm can do with time."""
    return ["recurrent"] if algorithm.__name__.startswith("Recurrent") else ["reactive", "windowed"]


def check_action_space(algorithm: type[BaseAlgorithm], env: gym.Env[object, object], env_id: str) -> None:
    """Refuse an env in which an algorithm cannot act."""
    if not can_act(algorithm, env.action_space):
        able = [name for name, other in algorithms().items() if can_act(other, env.action_space)]
        hint = f"; use {', '.join(able)}" if able else ""
        raise UserError(
            f"{algorithm.__name__} cannot act in {env_id}: its actions are {env.action_space}, "
            f"{algorithm.__name__} takes {', '.join(action_spaces(algorithm))}{hint}"
        )


def check_masks(algorithm: type[BaseAlgorithm], env: gym.Env[Any, Any] | VecEnv, env_id: str) -> None:
    """Refuse an env that does not say which actions are allowed, if the algorithm must be told."""
    if takes_masks(algorithm) and not is_masking_supported(env):
        unmasked = command_name(algorithm).replace("maskable_", "")
        raise UserError(
            f"{algorithm.__name__} needs an env with a method action_masks(), {env_id} has none; {unmasked} needs none"
        )
