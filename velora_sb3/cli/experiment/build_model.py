"""From a run's configuration to an untrained model."""

from __future__ import annotations

import inspect
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm

from velora_sb3.cli.algorithms import check_action_space, check_masks, find_algorithm
from velora_sb3.cli.errors import UserError, reason, unknown
from velora_sb3.cli.experiment.config import RunConfig
from velora_sb3.cli.experiment.environments import open_env, open_vec_env
from velora_sb3.cli.experiment.hyperparameters import constructor_arguments
from velora_sb3.cli.options import check_output
from velora_sb3.cli.structured_text import has_type

CLASSES: dict[str, tuple[Any, tuple[str, ...]]] = {  # arguments whose classes have names: where they are, and which
    "activation_fn": (torch.nn, ("ReLU", "Tanh", "ELU", "GELU", "SiLU", "LeakyReLU", "Identity")),
    "optimizer_class": (torch.optim, ("Adam", "AdamW", "NAdam", "RAdam", "RMSprop", "SGD")),
}


def build_model(config: RunConfig) -> BaseAlgorithm:
    """Build the environments and the model."""
    _, algorithm = find_algorithm(config.algo)
    env = open_env(config.env)
    check_action_space(algorithm, env, config.env)
    check_masks(algorithm, env, config.env)
    action_space = env.action_space
    env.close()

    if config.policy not in algorithm.policy_aliases:
        raise unknown(f"policy of {algorithm.__name__}", config.policy, algorithm.policy_aliases)
    action_shape = action_space.shape if isinstance(action_space, spaces.Box) else None
    arguments = constructor_arguments(algorithm, config.hyperparams, action_shape)
    if config.n_envs > 1 and "episode" in _as_tuple(arguments.get("train_freq")):
        raise UserError("training after whole episodes (train_freq) needs a single environment: omit --n-envs")
    if arguments.get("tensorboard_log"):
        check_output("hyperparameter tensorboard_log", Path(arguments["tensorboard_log"]), directory=True)
        arguments["tensorboard_log"] = str(Path(arguments["tensorboard_log"]).absolute())
    policy_kwargs = _policy_kwargs(algorithm.policy_aliases[config.policy], config.policy_kwargs)
    check_device(config.device)
    if config.hyperparams.get("tensorboard_log") and find_spec("tensorboard") is None:
        raise UserError("hyperparameter tensorboard_log: tensorboard is not installed (pip install tensorboard)")
    try:
        return algorithm(
            config.policy,
            open_vec_env(config.env, config.n_envs, config.seed),
            seed=config.seed,
            device=config.device,
            policy_kwargs=policy_kwargs,
            **arguments,
        )
    except (TypeError, ValueError, AssertionError, AttributeError, RuntimeError, MemoryError) as error:
        raise UserError(f"{algorithm.__name__} on {config.env}: {reason(error)}") from error


def check_device(device: str) -> None:
    """Raise if torch does not have a device; SB3 would silently train on the CPU."""
    if device == "auto":
        return
    try:
        torch.empty(0, device=device).cpu()  # "meta" has no data
    except (RuntimeError, AssertionError) as error:
        message = reason(error).splitlines()[0].partition(". ")[0]
        if message.startswith("Expected one of"):  # two dozen names follow
            message = "torch has no such device"
        raise UserError(f"--device {device}: {message}; use auto, cpu or, with a GPU, cuda") from error


def _policy_kwargs(policy_class: type, given: dict[str, Any]) -> dict[str, Any]:
    """A copy with classes instead of their names; raises for unknown arguments."""
    parameters = inspect.signature(policy_class).parameters
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    accepted = set(parameters) - {"observation_space", "action_space", "lr_schedule"}
    for name in given:
        if not open_ended and name not in accepted:  # policies with **kwargs, the liquid ones, check them themselves
            raise unknown(f"argument of {policy_class.__name__}", name, accepted)
    kwargs = deepcopy(given)
    _check_net_arch(kwargs.get("net_arch"))
    if kwargs.get("features_extractor_class") is not None:
        raise UserError("features_extractor_class is a class, which no file can hold: train it in a script")
    for argument, (module, names) in CLASSES.items():
        if kwargs.get(argument) is not None:
            name = str(kwargs[argument]).removeprefix("torch.").removeprefix("nn.").removeprefix("optim.")
            by_lower = {one.lower(): one for one in names}
            if name.lower() not in by_lower:
                raise unknown(argument, name, names)
            kwargs[argument] = getattr(module, by_lower[name.lower()])
    return kwargs


def _check_net_arch(net_arch: Any) -> None:
    branches = list(net_arch.values()) if isinstance(net_arch, dict) else [net_arch or []]
    if not all(isinstance(sizes, list) and all(has_type(size, int) for size in sizes) for sizes in branches):
        raise UserError(f"net_arch must be a list of layer sizes such as [64, 64], got {net_arch!r}")


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)
