"""The classes that a checkpoint may name: a fixed table, registered modules, and those that the user trusts."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Iterable
from enum import Enum
from importlib import import_module
from types import ModuleType
from typing import Any

import gymnasium.wrappers.utils
import ncps.wirings
import numpy as np
import sb3_contrib
import sb3_contrib.ars.policies
import sb3_contrib.common.maskable.buffers
import sb3_contrib.common.maskable.policies
import sb3_contrib.common.recurrent.buffers
import sb3_contrib.common.recurrent.policies
import sb3_contrib.common.recurrent.type_aliases
import sb3_contrib.common.torch_layers
import sb3_contrib.crossq.policies
import sb3_contrib.qrdqn.policies
import sb3_contrib.tqc.policies
import stable_baselines3
import stable_baselines3.common.buffers
import stable_baselines3.common.noise
import stable_baselines3.common.policies
import stable_baselines3.common.running_mean_std
import stable_baselines3.common.sb2_compat.rmsprop_tf_like
import stable_baselines3.common.torch_layers
import stable_baselines3.common.type_aliases
import stable_baselines3.common.utils
import stable_baselines3.dqn.policies
import stable_baselines3.her.goal_selection_strategy
import stable_baselines3.sac.policies
import stable_baselines3.td3.policies
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import BaseBuffer
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.utils import ConstantSchedule, FloatSchedule, LinearSchedule

from velora_sb3.checkpoints.format.errors import CheckpointError

# Modules, and the base classes of what may be named in each.
MODULES: tuple[tuple[ModuleType, tuple[type, ...]], ...] = (
    (stable_baselines3, (BaseAlgorithm, BaseBuffer)),
    (sb3_contrib, (BaseAlgorithm,)),
    (stable_baselines3.common.policies, (BasePolicy,)),
    (stable_baselines3.dqn.policies, (BasePolicy,)),
    (stable_baselines3.sac.policies, (BasePolicy,)),
    (stable_baselines3.td3.policies, (BasePolicy,)),
    (sb3_contrib.ars.policies, (BasePolicy,)),
    (sb3_contrib.crossq.policies, (BasePolicy,)),
    (sb3_contrib.qrdqn.policies, (BasePolicy,)),
    (sb3_contrib.tqc.policies, (BasePolicy,)),
    (sb3_contrib.common.maskable.policies, (BasePolicy,)),
    (sb3_contrib.common.recurrent.policies, (BasePolicy,)),
    (stable_baselines3.common.torch_layers, (BaseFeaturesExtractor,)),
    (sb3_contrib.common.torch_layers, (torch.nn.Module,)),
    (stable_baselines3.common.buffers, (BaseBuffer,)),
    (sb3_contrib.common.maskable.buffers, (BaseBuffer,)),
    (sb3_contrib.common.recurrent.buffers, (BaseBuffer,)),
    (sb3_contrib.common.recurrent.type_aliases, (tuple,)),
    (stable_baselines3.common.noise, (ActionNoise,)),
    (stable_baselines3.common.type_aliases, (Enum,)),
    (stable_baselines3.her.goal_selection_strategy, (Enum,)),
    (stable_baselines3.common.sb2_compat.rmsprop_tf_like, (torch.optim.Optimizer,)),
    (torch.optim, (torch.optim.Optimizer,)),
    (torch.nn.modules.activation, (torch.nn.Module,)),
    (ncps.wirings, (ncps.wirings.Wiring,)),
    (np, (np.generic,)),
)

# Classes whose objects are fully described by their attributes, and are stored as such.
PLAIN_OBJECTS: tuple[type, ...] = (
    ConstantSchedule,
    FloatSchedule,
    LinearSchedule,
    RunningMeanStd,
    gymnasium.wrappers.utils.RunningMeanStd,
)
PLAIN_KINDS: tuple[type, ...] = (ActionNoise, ncps.wirings.Wiring)

_registered: dict[str, type] = {}
_plain: set[type] = set()


def name_of(named: type) -> str:
    """The name under which a class is stored."""
    return f"{named.__module__}.{named.__qualname__}"


def register(*modules: ModuleType, plain: Iterable[type] = ()) -> None:
    """Allow checkpoints to name the algorithms, policies, buffers and networks of modules.

    Importing velora_sb3 registers its own.

    Args:
        *modules: The modules.
        plain: Classes whose objects are fully described by their attributes, such as dataclasses of arrays.
    """
    for named in plain:
        _registered[name_of(named)] = named
        _plain.add(named)
    for module in modules:
        for name, named in inspect.getmembers(module, inspect.isclass):
            if issubclass(named, BaseAlgorithm | BaseBuffer | torch.nn.Module):
                _registered[name_of(named)] = _registered[f"{module.__name__}.{name}"] = named


@functools.cache
def _known() -> dict[str, type]:
    found = list(PLAIN_OBJECTS)
    for module, kinds in MODULES:
        found += [named for _, named in inspect.getmembers(module, inspect.isclass) if issubclass(named, kinds)]
    return {name_of(named): named for named in found}


class AllowList:
    """The classes that one checkpoint may name."""

    def __init__(self, trusted: Iterable[type | str] = ()) -> None:
        names = (entry.replace(":", ".") if isinstance(entry, str) else entry for entry in trusted)
        self._trusted = {entry if isinstance(entry, str) else name_of(entry): entry for entry in names}

    def find(self, name: Any, kind: type = object) -> type:
        """The class of a name, which must be a subclass of ``kind``."""
        found: Any = None
        if isinstance(name, str):
            found = self._trusted.get(name) or _known().get(name) or _registered.get(name) or self._exported(name)
        if isinstance(found, str):
            module, _, attribute = found.rpartition(".")
            found = getattr(import_module(module), attribute, None)
        if found is None:
            raise CheckpointError(
                f"it names {name!r}, which is not on the list of classes that a checkpoint may use: if you trust that "
                f"class, pass trusted=[{str(name).rpartition('.')[2]}] in Python"
            )
        if not isinstance(found, type) or not issubclass(found, kind):
            raise CheckpointError(f"it names {name!r}, expected a subclass of {kind.__name__}")
        return found

    def _exported(self, name: str) -> type | None:
        """The trusted class that a module has under this name, other than the one in which it is defined."""
        module, _, attribute = name.rpartition(".")
        found = vars(sys.modules[module]).get(attribute) if module in sys.modules else None
        return found if any(found is entry for entry in self._trusted.values()) else None


def is_plain_object(value: Any) -> bool:
    """Whether an object is fully described by its attributes."""
    kind = type(value)
    if kind in _plain:
        return True
    return _known().get(name_of(kind)) is kind and (kind in PLAIN_OBJECTS or issubclass(kind, PLAIN_KINDS))
