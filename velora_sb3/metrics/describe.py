"""What is to be known of a run, as plain data."""

from __future__ import annotations

import inspect
import json
import platform
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from velora_sb3._optional import installed_version
from velora_sb3.callbacks import VeloraCallback
from velora_sb3.callbacks.naming import env_name

PACKAGES = ("velora-sb3", "torch", "stable-baselines3", "sb3-contrib", "gymnasium", "numpy")
# Arguments of an algorithm's constructor that are columns of their own, or say nothing about learning.
NO_SETTINGS = {"self", "args", "kwargs", "policy", "env", "seed", "verbose", "tensorboard_log", "_init_setup_model"}


@dataclass(frozen=True)
class About:
    """A run, before anything happened.

    Attributes:
        algorithm: The class's name.
        env: The environment's id.
        env_name: The same in short, for the run's name.
        seed: The model's seed, None if it has none.
        total_timesteps: ``num_timesteps`` at which training is to end.
        config: Policy, settings and callbacks, as JSON.
        versions: Versions by package, as JSON.
    """

    algorithm: str
    env: str
    env_name: str
    seed: int | None
    total_timesteps: int
    config: str
    versions: str


def describe(model: BaseAlgorithm, total_timesteps: int, callbacks: list[BaseCallback]) -> About:
    """Everything about a run that starts now.

    Args:
        model: The model, with its environments.
        total_timesteps: ``num_timesteps`` at which training is to end.
        callbacks: The callbacks of this ``learn()``.

    Returns:
        The description.
    """
    env = model.get_env()
    assert env is not None  # SB3 does not start without
    config = {
        "policy": model.policy_class.__name__,
        "n_envs": model.n_envs,
        **settings(model),
        "callbacks": [_callback(callback) for callback in callbacks],
    }
    versions = {"python": platform.python_version()}
    versions |= {package: installed_version(package) or "unknown" for package in PACKAGES}
    return About(
        algorithm=type(model).__name__,
        env=_env_id(env),
        env_name=env_name(env),
        seed=None if model.seed is None else int(model.seed),
        total_timesteps=int(total_timesteps),
        config=json.dumps(config),
        versions=json.dumps(versions),
    )


def settings(model: BaseAlgorithm) -> dict[str, Any]:
    """The arguments that an algorithm was built with. SB3 keeps each as an attribute of the same name.

    Args:
        model: The model.

    Returns:
        Plain data by argument; what JSON cannot hold is told in words.
    """
    names: dict[str, None] = {}
    for kind in type(model).__mro__:
        if "__init__" in vars(kind) and issubclass(kind, BaseAlgorithm):
            names.update(dict.fromkeys(inspect.signature(kind).parameters))
    return {name: _plain(getattr(model, name)) for name in names if name not in NO_SETTINGS and hasattr(model, name)}


def _callback(callback: BaseCallback) -> dict[str, Any]:
    if isinstance(callback, VeloraCallback):
        name, arguments = callback.config()
        return {"name": name, "settings": _plain(arguments)}
    return {"name": type(callback).__name__}


def _env_id(env: VecEnv) -> str:
    spec = env.get_attr("spec", 0)[0]
    return env_name(env) if spec is None else str(spec.id)


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return _plain(value.value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, type) or inspect.isroutine(value):
        return value.__qualname__
    text = str(value)
    return type(value).__qualname__ if " object at 0x" in text else text  # an address says nothing
