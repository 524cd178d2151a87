"""A description of the model, environments and callbacks, as JSON can hold it."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterable, Mapping
from enum import Enum
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import ConstantSchedule, FloatSchedule
from stable_baselines3.common.vec_env import VecEnv

from velora_sb3._call_env import vec_layers
from velora_sb3._optional import versions
from velora_sb3.callbacks.base.callback import VeloraCallback
from velora_sb3.callbacks.base.naming import env_id, env_name, env_text

LONGEST_LIST = 1000

# Arguments of SB3's constructors that are not hyperparameters, or are described elsewhere.
NO_HYPERPARAMETERS = {
    *("self", "args", "kwargs", "policy", "policy_kwargs", "env", "seed", "device", "verbose", "tensorboard_log"),
    "_init_setup_model",
}


def describe_run(model: BaseAlgorithm, callbacks: Iterable[BaseCallback]) -> dict[str, Any]:
    """A model, its environments and its callbacks."""
    algorithm, env = type(model), model.env
    policy = next((name for name, known in algorithm.policy_aliases.items() if known is model.policy_class), None)
    return {
        "algorithm": {"name": algorithm.__name__, "class": as_json(algorithm)},
        "env": {} if env is None else _describe_env(env),
        "policy": {"name": policy, "class": as_json(model.policy_class)},
        "policy_kwargs": as_json(model.policy_kwargs),
        "hyperparameters": hyperparameters(model),
        "seed": as_json(model.seed),
        "device": str(model.device),
        "total_timesteps": int(model._total_timesteps),
        "callbacks": [_describe_callback(callback) for callback in callbacks],
        "versions": versions(),
    }


def hyperparameters(model: BaseAlgorithm) -> dict[str, Any]:
    """The settings of a model's algorithm."""
    found: dict[str, Any] = {}
    for cls in type(model).__mro__:
        constructor = vars(cls).get("__init__")
        if not inspect.isfunction(constructor):
            continue
        parameters = inspect.signature(constructor).parameters
        for name in parameters:
            kept = next((kept for kept in (name, f"_{name}") if hasattr(model, kept)), None)
            if kept is not None and name not in NO_HYPERPARAMETERS:
                found.setdefault(name, as_json(getattr(model, kept)))
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters.values()):
            break  # what a base class takes besides is not the user's to set
    return found


def as_json(value: Any) -> Any:
    """A value in JSON's words."""
    if isinstance(value, FloatSchedule):
        return as_json(value.value_schedule)
    if isinstance(value, ConstantSchedule):
        return as_json(value.val)
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, Enum):
        return as_json(value.value)
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(as_json(key)): as_json(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(entry) for entry in value]
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray) and value.size <= LONGEST_LIST:
        return as_json(value.tolist())
    return in_words(value)


def in_words(value: Any) -> str:
    """How a value prints, in one line and without its address in memory."""
    return " ".join(re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value)).split())[:1000]


def _describe_env(env: VecEnv) -> dict[str, Any]:
    return {
        "name": env_name(env),
        "id": env_id(env),
        "n_envs": env.num_envs,
        "vectorized": [as_json(type(layer)) for layer in vec_layers(env)],
        "wrapped": env_text(env),
        "observation_space": in_words(env.observation_space),
        "action_space": in_words(env.action_space),
    }


def _describe_callback(callback: BaseCallback) -> dict[str, Any]:
    if isinstance(callback, VeloraCallback):
        name, settings = callback.config()
        return {"name": name, "settings": as_json(settings)}
    return {"name": type(callback).__name__, "class": as_json(type(callback))}
