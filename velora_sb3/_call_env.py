"""Calls a function with an environment, in whichever process the environment lives."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.connection import wait
from typing import Any

import gymnasium as gym
from stable_baselines3.common.vec_env import SubprocVecEnv, VecEnv, VecEnvWrapper

ATTRIBUTE = "_velora_call"


class EnvCallError(RuntimeError):
    """The call failed; the process of the environment is unharmed."""


class EnvOutOfReachError(EnvCallError):
    """A ``VecEnv`` of another kind, or an environment without any wrapper in a ``SubprocVecEnv``."""


def vec_layers(venv: VecEnv) -> Iterator[VecEnv]:
    """The wrappers of vectorized environments, outermost first, and the environments themselves."""
    yield venv
    while isinstance(venv, VecEnvWrapper):
        venv = venv.venv
        yield venv


def innermost(venv: VecEnv) -> VecEnv:
    """The environments below all wrappers; classes that only resemble SB3's have no ``unwrapped``."""
    *_, base = vec_layers(venv)
    return base


def call_env(venv: VecEnv, function: Callable[[gym.Env[Any, Any]], Any], index: int = 0) -> Any:
    """Return ``function(env)``; raises ``EnvCallError`` if that raises, or if the result cannot be sent.

    ``SubprocVecEnv.get_attr`` and ``env_method`` would end the process of the environment in both cases. If it ends
    meanwhile, this raises ``EOFError`` or ``ConnectionError``.
    """
    base = innermost(venv)
    envs = getattr(base, "envs", None)
    if isinstance(envs, list) and len(envs) == base.num_envs and isinstance(envs[index], gym.Env):
        try:
            return function(envs[index])
        except Exception as error:
            raise EnvCallError(_reason(error)) from error
    if not isinstance(base, SubprocVecEnv) or not _ask(base, index, "is_wrapped", _Reach):
        raise EnvOutOfReachError(f"{type(base).__name__} gives no access to its environments")
    result, problem = _ask(base, index, "env_method", (ATTRIBUTE, (function,), {}))
    if problem is not None:
        raise EnvCallError(problem)
    return pickle.loads(result)


def _ask(base: SubprocVecEnv, index: int, command: str, data: Any) -> Any:
    """One of SB3's commands to a worker process; its own methods wait for ever if that ends and others were forked."""
    if base.closed:
        raise EnvCallError("the environments are closed")
    if base.waiting:  # what the pipe holds is the answer to that step
        raise EnvCallError("a step of the environments was interrupted before they answered")
    remote, process = base.remotes[index], base.processes[index]
    if not process.is_alive():
        raise EnvCallError(f"the worker process of environment {index} has ended")
    remote.send((command, data))
    wait([remote, process.sentinel])
    if not remote.poll():
        raise EOFError
    answer = remote.recv()
    if command == "is_wrapped" and not isinstance(answer, bool):
        raise EnvCallError("an earlier call to the environments was interrupted before they answered")
    return answer


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
