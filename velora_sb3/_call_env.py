"""Calls a function with an environment, in whichever process the environment lives."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium as gym
from stable_baselines3.common.vec_env import SubprocVecEnv, VecEnv

ATTRIBUTE = "_velora_call"


class EnvCallError(RuntimeError):
    """The call failed; the process of the environment is unharmed."""


class EnvOutOfReachError(EnvCallError):
    """A ``VecEnv`` of another kind, or an environment without any wrapper in a ``SubprocVecEnv``."""


def call_env(venv: VecEnv, function: Callable[[gym.Env[Any, Any]], Any], index: int = 0) -> Any:
    """Return ``function(env)``; raises ``EnvCallError`` if that raises, or if the result cannot be sent.

    ``SubprocVecEnv.get_attr`` and ``env_method`` would end the process of the environment in both cases.
    """
    base = venv.unwrapped
    envs = getattr(base, "envs", None)
    if isinstance(envs, list) and isinstance(envs[index], gym.Env):
        try:
            return function(envs[index])
        except Exception as error:
            raise EnvCallError(_reason(error)) from error
    if not isinstance(base, SubprocVecEnv) or not base.env_is_wrapped(_Reach, indices=index)[0]:  # type: ignore[arg-type]
        raise EnvOutOfReachError(f"{type(base).__name__} gives no access to its environments")
    result, problem = base.env_method(ATTRIBUTE, function, indices=index)[0]
    if problem is not None:
        raise EnvCallError(problem)
    return pickle.loads(result)


class _Probe(type):
    """Runs in the process of an environment: SB3 evaluates ``isinstance(env, _Reach)`` there, for wrappers only."""

    def __instancecheck__(cls, env: Any) -> bool:
        try:
            setattr(env, ATTRIBUTE, partial(_call, env))
        except Exception:  # a wrapper that takes no attributes
            return False
        return True


class _Reach(metaclass=_Probe):
    """Gives a wrapper a method for a single call."""


def _call(env: Any, function: Callable[[gym.Env[Any, Any]], Any]) -> tuple[bytes | None, str | None]:
    try:
        delattr(env, ATTRIBUTE)
        return pickle.dumps(function(env)), None
    except Exception as error:
        return None, _reason(error)


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
