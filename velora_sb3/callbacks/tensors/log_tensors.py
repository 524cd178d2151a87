"""Norms and histograms of tensors, into SB3's logger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Logger
from torch.optim import Optimizer

from velora_sb3.callbacks.base.callback import VeloraCallback
from velora_sb3.callbacks.base.tables import TABLES, TEXT_OUTPUTS, excluded
from velora_sb3.callbacks.base.triggers import EveryTimesteps


class LogTensors(VeloraCallback):
    """What ``LogGradients`` and ``LogParameters`` share."""

    _needs_every_step = True  # SB3 calls the children of events at no rollout

    def __init__(self, every_n_timesteps: int = 10_000, *, histograms: bool = True, verbose: int = 0) -> None:
        super().__init__(verbose)
        self._trigger: EveryTimesteps = EveryTimesteps(every_n_timesteps)
        self.histograms = histograms

    def config(self) -> tuple[str, dict[str, Any]]:
        """Name and settings."""
        return type(self).__name__, {"every_n_timesteps": self._trigger.period, "histograms": self.histograms}


def named_parameters(model: BaseAlgorithm, optimizer: Optimizer) -> dict[str, torch.Tensor]:
    """The parameters that an optimizer updates, by their names in the policy or the model, else by their indices."""
    names = {id(value): name for name, value in vars(model).items() if isinstance(value, torch.Tensor)}
    names |= {id(parameter): name for name, parameter in model.policy.named_parameters()}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return {names.get(id(parameter), str(index)): parameter for index, parameter in enumerate(parameters)}


def log_tensors(logger: Logger, what: str, network: str, tensors: Mapping[str, torch.Tensor], histograms: bool) -> None:
    """Record a network's tensors; ``LogGradients`` documents the keys."""
    norms = {name: float(torch.linalg.vector_norm(tensor.double())) for name, tensor in tensors.items()}
    norm = float(torch.tensor(list(norms.values()), dtype=torch.float64).norm())
    logger.record(key := f"{what}/norm/{network}", norm, exclude=excluded(key))
    nonfinite = sum(int((~tensor.isfinite()).sum()) for tensor in tensors.values())
    if nonfinite:
        logger.record(key := f"{what}/nonfinite/{network}", nonfinite, exclude=excluded(key))
    for name, tensor in tensors.items():
        logger.record(f"{what}/norm/{network}/{name}", norms[name], exclude=TABLES)
        finite = tensor[tensor.isfinite()]  # TensorBoard fails on an empty histogram, and on NaN
        if histograms and finite.numel():
            logger.record(f"{what}/histogram/{network}/{name}", finite.float().cpu().numpy(), exclude=TEXT_OUTPUTS)
