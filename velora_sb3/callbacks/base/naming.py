"""Names for files and runs: environments, and short numbers."""

from __future__ import annotations

import re
from typing import Any

import gymnasium as gym
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv


def env_id(env: VecEnv) -> str | None:
    """The Gymnasium id of an environment.

    Args:
        env: The vectorized environments, of which the first counts.

    Returns:
        The id, such as ``Pendulum-v1``; None if it has none.
    """
    first = _env_at_hand(env)
    if first is not None:
        return None if first.spec is None else first.spec.id
    innermost = re.search(r"<\w+<([^<>\s]+)>>", env_text(env))
    return innermost[1] if innermost else None


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
    first = _env_at_hand(env)
    if first is not None:
        return type(first).__name__
    innermost = re.findall(r"<(\w+) instance>", env_text(env))
    return innermost[-1] if innermost else _for_a_file(type(env.unwrapped).__name__)


def env_text(env: VecEnv) -> str:
    """How the first environment prints: its wrappers, its class and its id.

    An environment in another process is only asked for this text, because its spec or class may not be picklable, and
    the attempt would end the process.

    Args:
        env: The vectorized environments.

    Returns:
        Such as ``<Monitor<TimeLimit<PendulumEnv<Pendulum-v1>>>>``.
    """
    try:
        return str(env.env_method("__str__", indices=0)[0])
    except (AttributeError, NotImplementedError):  # vectorized environments that hold no single ones
        return str(env)


def short_number(number: int) -> str:
    """A short form of a number: 100, 1.5K, 2M. Different numbers have different forms.

    Args:
        number: An integer of at least 0.

    Returns:
        The number, in thousands, millions or billions where two decimals are exact.
    """
    for size, letter in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if number >= size and number % (size // 100) == 0:
            return f"{number / size:.2f}".rstrip("0").rstrip(".") + letter
    return str(number)


def _env_at_hand(env: VecEnv) -> gym.Env[Any, Any] | None:
    """The first environment itself, if it lives in this process."""
    inner = env.unwrapped
    return inner.envs[0].unwrapped if isinstance(inner, DummyVecEnv) else None


def _for_a_file(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("_") or "Env"
