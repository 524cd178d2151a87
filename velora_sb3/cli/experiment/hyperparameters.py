"""From values of a JSON or YAML file to an algorithm's constructor arguments."""

from __future__ import annotations

import collections.abc
import inspect
import math
import typing
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import ActionNoise, NormalActionNoise, OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.utils import LinearSchedule

from velora_sb3.cli.errors import UserError, unknown
from velora_sb3.cli.structured_text import has_type, type_names, union_members, whole

# Constructor arguments and RL Zoo's names that are options of the command line.
OPTIONS = {
    "policy": "--policy",
    "policy_kwargs": "--policy-kwargs",
    "env": "--env",
    "n_envs": "--n-envs",
    "n_timesteps": "--steps",
    "seed": "--seed",
    "device": "--device",
}
NOISES: dict[str, type[NormalActionNoise | OrnsteinUhlenbeckActionNoise]] = {
    "normal": NormalActionNoise,
    "ornstein-uhlenbeck": OrnsteinUhlenbeckActionNoise,
}
# Ranges that SB3 does not check before training.
POSITIVE = {
    "learning_rate", "batch_size", "buffer_size", "n_steps", "n_epochs", "n_delta", "n_top", "train_freq", "clip_range",
    "target_update_interval", "policy_delay", "n_eval_episodes", "delta_std", "stats_window_size", "max_grad_norm",
}  # fmt: skip
AUTOMATIC = {"ent_coef": True, "target_entropy": False}  # can be learned or derived; whether auto_0.1 exists too
FRACTIONS = {
    "gamma", "tau", "gae_lambda", "exploration_fraction", "exploration_initial_eps", "exploration_final_eps",
}  # fmt: skip


def constructor_arguments(
    algorithm: type[BaseAlgorithm], hyperparams: dict[str, Any], action_shape: tuple[int, ...] | None
) -> dict[str, Any]:
    """Check hyperparameters and convert them to constructor arguments.

    Two of RL Zoo's forms are accepted as well: ``lin_0.001``, a schedule that decays linearly to zero, wherever the
    algorithm takes a schedule; and ``noise_type`` with ``noise_std`` for the action noise.
    """
    annotations = _annotations(algorithm)
    noisy = "action_noise" in annotations
    names = {name for name in annotations if name not in OPTIONS and name != "action_noise"}
    accepted = names | ({"noise_type", "noise_std"} if noisy else set())
    arguments: dict[str, Any] = {}
    for name, value in hyperparams.items():
        if name in OPTIONS:
            raise UserError(f"{name} is not a hyperparameter: set it with {OPTIONS[name]}")
        if name not in accepted:
            raise unknown(f"hyperparameter of {algorithm.__name__}", name, accepted)
        if name in names:
            arguments[name] = _convert(name, value, annotations[name])
    if "noise_type" in hyperparams or "noise_std" in hyperparams:
        arguments["action_noise"] = _action_noise(hyperparams, action_shape)
    return arguments


def _annotations(algorithm: type[BaseAlgorithm]) -> dict[str, Any]:
    parameters = inspect.signature(algorithm, eval_str=True).parameters
    return {name: parameter.annotation for name, parameter in parameters.items() if not name.startswith("_")}


def _convert(name: str, value: Any, annotation: Any) -> Any:
    kinds = union_members(annotation)
    scheduled = any(typing.get_origin(kind) is collections.abc.Callable for kind in kinds)
    if scheduled and isinstance(value, str) and value.startswith("lin_"):
        return LinearSchedule(_range_checked(name, _number(name, value[4:])), 0.0, 1.0)
    value = whole(value, kinds)
    if name in AUTOMATIC and isinstance(value, str) and any(has_type(value, kind) for kind in kinds):
        return _automatic(name, value)
    for kind in kinds:
        if has_type(value, kind):
            _range_checked(name, value)
            return tuple(value) if isinstance(value, list) else value
    schedule = " or a schedule such as 'lin_0.001'" if scheduled else ""
    raise UserError(f"hyperparameter {name} must be {type_names(kinds)}{schedule}, got {value!r}")


def _automatic(name: str, value: str) -> str:
    """A number as text, or one of the words that SB3 knows; SB3 takes any word that starts with auto."""
    initial = value.removeprefix("auto_") if AUTOMATIC[name] else value
    try:
        if value != "auto":
            _range_checked(name, float(initial))
    except ValueError as error:
        words = "'auto' or, with an initial value, 'auto_0.1'" if AUTOMATIC[name] else "or 'auto'"
        raise UserError(f"hyperparameter {name} must be a number, {words}, got {value!r}") from error
    return value


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise UserError(
            f"hyperparameter {name}: expected a number after 'lin_', as in 'lin_0.001', got {text!r}"
        ) from error


def _range_checked(name: str, value: Any) -> Any:
    if isinstance(value, list):
        for item in value:
            _range_checked(name, item)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if not math.isfinite(value):
        raise UserError(f"hyperparameter {name} must be a finite number, got {value}")
    if name in POSITIVE and not value > 0:
        raise UserError(f"hyperparameter {name} must be above 0, got {value}")
    if name in FRACTIONS and not 0 <= value <= 1:
        raise UserError(f"hyperparameter {name} must be between 0 and 1, got {value}")
    return value


def _action_noise(hyperparams: dict[str, Any], action_shape: tuple[int, ...] | None) -> ActionNoise:
    kind, std = hyperparams.get("noise_type"), hyperparams.get("noise_std")
    if kind is None or std is None:
        raise UserError("hyperparameters noise_type and noise_std must be given together")
    if not isinstance(kind, str) or kind not in NOISES:
        raise unknown("noise_type", str(kind), NOISES)
    if not has_type(std, float) or not 0 <= std < math.inf:
        raise UserError(f"hyperparameter noise_std must be a finite number, at least 0, got {std!r}")
    if action_shape is None:
        raise UserError("hyperparameter noise_type needs continuous actions (a Box action space): remove it")
    return NOISES[kind](np.zeros(action_shape), float(std) * np.ones(action_shape))
