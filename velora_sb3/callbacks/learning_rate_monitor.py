"""The learning rates of the optimizers."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer

from velora_sb3.callbacks.base.callback import VeloraCallback
from velora_sb3.callbacks.base.optimizers import optimizers_of
from velora_sb3.callbacks.base.tables import excluded


class LearningRateMonitor(VeloraCallback):
    """Logs the learning rate of every optimizer as ``learning_rate/<optimizer>``.

    Optimizers are called ``policy``, or ``actor``, ``critic`` and ``ent_coef``; several parameter groups of one add
    their names or numbers. SB3's ``train/learning_rate`` is the schedule's value; this one is the rate of the latest
    update. It is read at the start and at the end of each rollout.

    Args:
        log_momentum: Whether to log ``momentum/<optimizer>`` as well: ``momentum`` of SGD and RMSprop, the first beta
            of Adam.
        verbose: 0 for no output, 1 to print the settings.

    Attributes:
        latest: The values that were logged last, by key.
    """

    def __init__(self, log_momentum: bool = False, *, verbose: int = 0) -> None:
        super().__init__(verbose)
        self.log_momentum = log_momentum
        self.latest: dict[str, float] = {}

    def config(self) -> tuple[str, dict[str, Any]]:
        """Name and settings."""
        return type(self).__name__, {"log_momentum": self.log_momentum}

    def _on_rollout_start(self) -> None:
        self._record()

    def _on_rollout_end(self) -> None:  # an evaluation in between has flushed the logger
        self._record()

    def _record(self) -> None:
        self.latest = {}
        for name, optimizer in optimizers_of(self.model).items():
            self.latest |= _rates(name, optimizer, self.log_momentum)
        for key, value in self.latest.items():
            self.logger.record(key, value, exclude=excluded(key))


def _rates(name: str, optimizer: Optimizer, with_momentum: bool) -> dict[str, float]:
    rates = {}
    for index, group in enumerate(optimizer.param_groups):
        where = name if len(optimizer.param_groups) == 1 else f"{name}/{group.get('name', index)}"
        rates[f"learning_rate/{where}"] = float(group["lr"])
        momentum = group["betas"][0] if "betas" in group else group.get("momentum")
        if with_momentum and momentum is not None:
            rates[f"momentum/{where}"] = float(momentum)
    return rates
