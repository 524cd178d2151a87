"""Presets for little memory and for unstable training."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from velora_sb3.finrl.models import find_model

ON_POLICY = {"n_epochs", "gae_lambda"}  # an algorithm with either argument is on-policy
SIZES = {"batch_size", "buffer_size", "n_steps"}


def memory_efficient_config(model_name: str) -> dict[str, Any]:
    """``model_kwargs`` that save memory: a small replay buffer or short rollouts, and small batches.

    Args:
        model_name: As for :meth:`DRLAgent.get_model`. Only arguments of this algorithm are returned.

    Returns:
        A new dict.
    """
    off_policy = {"buffer_size": 10_000, "batch_size": 32, "learning_starts": 100, "train_freq": (4, "step")}
    return _for(model_name, on_policy={"n_steps": 512, "batch_size": 32}, off_policy=off_policy)


def stable_config(model_name: str) -> dict[str, Any]:
    """``model_kwargs`` for unstable training: a low learning rate and small, bounded updates.

    Args:
        model_name: As for :meth:`DRLAgent.get_model`. Only arguments of this algorithm are returned.

    Returns:
        A new dict.
    """
    gentle = {"learning_rate": 3e-5}
    bounded = {"clip_range": 0.1, "ent_coef": 0.001, "max_grad_norm": 0.5, "vf_coef": 0.25}
    return _for(model_name, on_policy={**gentle, **bounded}, off_policy=gentle)


def small_policy() -> dict[str, Any]:
    """``policy_kwargs`` for a small network, in liquid policies and SB3's own: two layers of 64.

    Returns:
        A new dict. Add ``units`` to set the size of a liquid policy's cell.
    """
    return {"net_arch": [64, 64], "activation_fn": nn.ReLU}


def _for(model_name: str, on_policy: dict[str, Any], off_policy: dict[str, Any]) -> dict[str, Any]:
    defaults: dict[str, Any] = {}
    for parent in find_model(model_name).__mro__:  # the recurrent algorithms pass on **kwargs
        parameters = inspect.signature(parent).parameters.values()
        defaults = {**{each.name: each.default for each in parameters}, **defaults}
        if not any(each.kind is each.VAR_KEYWORD for each in parameters):
            break
    chosen = off_policy if "buffer_size" in defaults else {}
    if defaults.keys() & ON_POLICY:  # SAC's n_steps and ent_coef differ in meaning from PPO's
        chosen = on_policy
    sizes = {name for name in SIZES & defaults.keys() if isinstance(defaults[name], int)}
    small_already = {name for name in sizes & chosen.keys() if defaults[name] <= chosen[name]}
    return {name: value for name, value in chosen.items() if name in defaults and name not in small_already}
