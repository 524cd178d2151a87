"""A model's settings as plain values."""

from __future__ import annotations

import inspect
import math
import platform
from enum import Enum
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.utils import ConstantSchedule, FloatSchedule
from stable_baselines3.common.vec_env import VecEnvWrapper

from velora_sb3._optional import installed_version

PACKAGES = ("velora-sb3", "stable-baselines3", "sb3-contrib", "torch", "gymnasium", "numpy")
# Arguments of a constructor that are no hyperparameters, or stand elsewhere.
ELSEWHERE = {"self", "policy", "env", "policy_kwargs", "seed", "verbose", "tensorboard_log", "_init_setup_model"}


def model_config(model: BaseAlgorithm) -> dict[str, Any]:
    """What a run's configuration says about its model.

    Args:
        model: Any model of SB3's, with its environments.

    Returns:
        Algorithm, hyperparameters, policy, its keyword arguments, environment, seed, versions; as JSON can hold them.
    """
    return {
        "algorithm": type(model).__name__,
        "hyperparameters": hyperparameters(model),
        "policy": model.policy_class.__name__ if isinstance(model.policy_class, type) else str(model.policy_class),
        "policy_kwargs": plain(model.policy_kwargs),
        "env": _env(model),
        "seed": plain(model.seed),
        "versions": {
            "python": platform.python_version(),
            **{package: version for package in PACKAGES if (version := installed_version(package))},
        },
    }


def hyperparameters(model: BaseAlgorithm) -> dict[str, Any]:
    """The constructor's arguments, as the model has kept them.

    Args:
        model: Any model of SB3's.

    Returns:
        Plain values by name.
    """
    names = dict.fromkeys(name for cls in type(model).__mro__ for name in inspect.signature(cls).parameters)
    return {name: plain(getattr(model, name)) for name in names if name not in ELSEWHERE and hasattr(model, name)}


def plain(value: Any) -> Any:
    """A value as JSON can hold it and people can read it.

    Args:
        value: Anything.

    Returns:
        Numbers, strings, lists and dicts of such as they are; classes and functions by their name, constant schedules
        by their value, small arrays as lists, everything else by its ``repr``, or by its type if that has no words.
    """
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, np.generic):
        return plain(value.item())
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | torch.Tensor):
        return plain(value.tolist()) if math.prod(value.shape) <= 16 else f"array of shape {tuple(value.shape)}"
    if isinstance(value, FloatSchedule):
        return plain(value.value_schedule)
    if isinstance(value, ConstantSchedule):
        return plain(value.val)
    if isinstance(value, type) or inspect.isroutine(value):
        return value.__qualname__
    if isinstance(value, torch.device):
        return str(value)
    try:
        text = " ".join(repr(value).split())
    except Exception:
        return type(value).__name__
    return type(value).__name__ if " at 0x" in text or len(text) > 500 else text


def _env(model: BaseAlgorithm) -> dict[str, Any]:
    env = model.get_env()
    if env is None:
        return {}
    spec = env.get_attr("spec", 0)[0]
    wrappers = []
    while isinstance(env, VecEnvWrapper):
        wrappers.append(type(env).__name__)
        env = env.venv
    return {
        "id": spec.id if spec is not None else None,
        "n_envs": model.n_envs,
        "vec_env": [*wrappers, type(env).__name__],
        "observation_space": plain(model.observation_space),
        "action_space": plain(model.action_space),
    }
