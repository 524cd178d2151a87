"""The optimizers of a model, by name."""

from __future__ import annotations

from stable_baselines3.common.base_class import BaseAlgorithm
from torch.optim import Optimizer


def optimizers_of(model: BaseAlgorithm) -> dict[str, Optimizer]:
    """All optimizers of a model."""
    found: dict[str, Optimizer] = {}
    for module_name, module in model.policy.named_modules():
        for attribute, value in vars(module).items():
            if isinstance(value, Optimizer) and value not in found.values():
                found[_name(module_name, attribute) or "policy"] = value
    for attribute, value in vars(model).items():
        if isinstance(value, Optimizer) and value not in found.values():
            found[attribute.removesuffix("_optimizer")] = value
    return found


def _name(module: str, attribute: str) -> str:
    parts = [module, "" if attribute == "optimizer" else attribute.removesuffix("_optimizer")]
    return ".".join(part for part in parts if part)
