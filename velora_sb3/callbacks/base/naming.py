"""Names for files and runs: environments, and short numbers."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

import gymnasium as gym
from stable_baselines3.common.vec_env import SubprocVecEnv, VecEnv

from velora_sb3._call_env import EnvCallError, EnvOutOfReachError, call_env, innermost


def env_id(env: VecEnv) -> str | None:
    """The Gymnasium id of an environment.

    Args:
        env: The vectorized environments, of which the first counts.

    Returns:
        The id, such as ``Pendulum-v1``; None if it has none.
    """
    with suppress(EnvCallError):
        return call_env(env, _identity)[0]  # type: ignore[no-any-return]
    found = re.search(r"<\w+<([^<>\s]+)>>", env_text(env))
    return found[1] if found else None


def env_name(env: VecEnv) -> str:
    """The name of an environment: its id without namespace and version, or its class if it has no id.

    Args:
        env: The vectorized environments, of which the first counts.

    Returns:
        The name, such as ``Pendulum``; safe in file names.
    """
    known = env_id(env)
    if known is not None:
        return _for_a_file(re.sub(r"-v\d+$", "", known.rpartition("/")[2]))
    with suppress(EnvCallError):
        return _for_a_file(call_env(env, _identity)[1])
    found = re.findall(r"<(\w+) instance>", env_text(env))
    return found[-1] if found else _for_a_file(type(innermost(env)).__name__)


def env_text(env: VecEnv) -> str:
    """How the first environment prints: its wrappers, its class and its id.

    Args:
        env: The vectorized environments.

    Returns:
        Such as ``<Monitor<TimeLimit<PendulumEnv<Pendulum-v1>>>>``; without wrappers if the environment cannot print.
    """
    try:
        return str(call_env(env, str))
    except EnvOutOfReachError:
        return _text_out_of_reach(env)
    except EnvCallError:  # a __str__ of its own, such as one that draws a board before the first reset
        name, class_name = call_env(env, _identity)
        return f"<{class_name} instance>" if name is None else f"<{class_name}<{name}>>"


def short_number(number: float) -> str:
    """A short form of a number: 100, 1.5K, 2M. Different numbers have different forms.

    Args:
        number: An integer of at least 0; a float, as in ``learn(1e6)``, is rounded down.

    Returns:
        The number, in thousands, millions or billions where two decimals are exact.
    """
    number = int(number)
    for size, letter in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if number >= size and number % (size // 100) == 0:
            return f"{number / size:.2f}".rstrip("0").rstrip(".") + letter
    return str(number)


def _identity(env: gym.Env[Any, Any]) -> tuple[str | None, str]:
    """The id and the class of an environment."""
    inner = env.unwrapped
    return None if inner.spec is None else inner.spec.id, type(inner).__name__


def _text_out_of_reach(env: VecEnv) -> str:
    # An error in __str__ would end the process of a SubprocVecEnv. Environments rarely define __repr__.
    method = "__repr__" if isinstance(innermost(env), SubprocVecEnv) else "__str__"
    try:
        text = str(env.env_method(method, indices=0)[0])
    except (AttributeError, NotImplementedError):  # vectorized environments that hold no single ones
        return str(env)
    default = re.fullmatch(r"<(?:.*\.)?(\w+) object at 0x\w+>", text)
    return f"<{default[1]} instance>" if default else text


def _for_a_file(text: str) -> str:
    # Names of files have at most 255 characters; the rest is for what callbacks add.
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text)[:100].strip("_") or "Env"
