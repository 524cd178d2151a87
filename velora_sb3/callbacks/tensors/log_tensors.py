"""Norms and histograms of tensors, into SB3's logger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import EventCallback
from stable_baselines3.common.logger import Logger

from velora_sb3.callbacks.base.callback import VeloraCallback
from velora_sb3.callbacks.base.triggers import EveryTimesteps

# SB3's tables break off long keys, and fail if two are then the same; its files have a column for each number.
NO_TABLES = ("stdout", "log")
NO_ARRAYS = ("stdout", "log", "csv", "json")


class LogTensors(VeloraCallback):
    """What ``LogGradients`` and ``LogParameters`` share."""

    def __init__(self, every_n_timesteps: int = 10_000, *, histograms: bool = True, verbose: int = 0) -> None:
        super().__init__(verbose)
        self._every = EveryTimesteps(every_n_timesteps)
        self.histograms = histograms

    def config(self) -> tuple[str, dict[str, Any]]:
        """Name and settings."""
        return type(self).__name__, {"every_n_timesteps": self._every.period, "histograms": self.histograms}

    def _on_start(self) -> None:
        if isinstance(self.parent, EventCallback):
            raise ValueError(
                f"{type(self).__name__} needs to know of rollouts: put it in the list of callbacks for learn(), not in "
                f"{type(self.parent).__name__}"
            )
        self._every.start(self.model.num_timesteps)


def parameter_names(model: BaseAlgorithm) -> dict[int, str]:
    """What the parameters of a model are called."""
    own = {id(value): name for name, value in vars(model).items() if isinstance(value, torch.Tensor)}
    return {**own, **{id(parameter): name for name, parameter in model.policy.named_parameters()}}


def log_tensors(logger: Logger, what: str, network: str, tensors: Mapping[str, torch.Tensor], histograms: bool) -> None:
    """Record a network's tensors.

    The keys are ``<what>/norm/<network>`` for all of them together, ``<what>/norm/<network>/<name>`` and
    ``<what>/histogram/<network>/<name>`` for each, and ``<what>/nonfinite/<network>`` for the number of values that
    are NaN or infinite, if there are any.
    """
    norms = {name: float(torch.linalg.vector_norm(tensor.double())) for name, tensor in tensors.items()}
    logger.record(f"{what}/norm/{network}", float(torch.tensor(list(norms.values()), dtype=torch.float64).norm()))
    nonfinite = sum(int((~tensor.isfinite()).sum()) for tensor in tensors.values())
    if nonfinite:
        logger.record(f"{what}/nonfinite/{network}", nonfinite)
    for name, tensor in tensors.items():
        logger.record(f"{what}/norm/{network}/{name}", norms[name], exclude=NO_TABLES)
        finite = tensor[tensor.isfinite()]  # TensorBoard fails at a histogram of nothing, and of NaN
        if histograms and finite.numel():
            logger.record(f"{what}/histogram/{network}/{name}", finite.float().cpu().numpy(), exclude=NO_ARRAYS)
