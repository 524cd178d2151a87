"""The gradients that the optimizers really use, as norms and histograms."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from velora_sb3.callbacks.base.optimizers import optimizers_of
from velora_sb3.callbacks.tensors.log_tensors import LogTensors, log_tensors, parameter_names

Gradients = dict[str, torch.Tensor]


class LogGradients(LogTensors):
    """Logs norms and histograms of the gradients, of the first update and of one every so many timesteps.

    They are taken when an optimizer steps: after any clipping, and before anything else is added. What is left in
    ``grad`` after SB3's updates is something else: with SAC or TD3 the critic's holds the gradients of the actor's
    loss as well. They are logged at the next start of a rollout. The keys are ``gradients/norm/<network>`` for a whole
    network, ``gradients/norm/<network>/<name>`` and ``gradients/histogram/<network>/<name>`` for each tensor; networks
    are called ``policy``, or ``actor``, ``critic`` and ``ent_coef``. ``gradients/nonfinite/<network>`` counts values
    that are NaN or infinite, where there are any.

    ARS has no gradients: nothing is logged. TRPO's optimizer knows those of the value network only.

    Args:
        every_n_timesteps: How often, over all environments.
        histograms: Whether to log histograms beside the norms.
        verbose: 0 for silence, 1 to print what it does.

    Raises:
        ValueError: If ``every_n_timesteps`` is no whole number of at least 1; when training starts, if it is the child
            of an event.
    """

    def __init__(self, every_n_timesteps: int = 10_000, *, histograms: bool = True, verbose: int = 0) -> None:
        super().__init__(every_n_timesteps, histograms=histograms, verbose=verbose)
        self._hooks: dict[str, RemovableHandle] = {}
        self._taken: dict[str, Gradients] = {}

    def _on_start(self) -> None:
        super()._on_start()
        if self.is_new_run:
            self._watch()

    def _on_rollout_start(self) -> None:
        for network, gradients in self._taken.items():
            self._hooks.pop(network).remove()
            if gradients:
                log_tensors(self.logger, "gradients", network, gradients, self.histograms)
        self._taken.clear()
        if self._every.crossed(self.model.num_timesteps):
            self._watch()

    def _on_end(self) -> None:
        for hook in self._hooks.values():
            hook.remove()
        self._hooks.clear()
        self._taken.clear()

    def _watch(self) -> None:
        """Take the gradients of each optimizer's next step."""
        this = weakref.ref(self)  # the optimizer must not keep the callback alive

        def take(network: str, optimizer: Optimizer) -> None:
            callback = this()
            if callback is not None and network not in callback._taken:
                callback._taken[network] = _gradients(optimizer, parameter_names(callback.model))

        for network, optimizer in optimizers_of(self.model).items():
            if network not in self._hooks:
                self._hooks[network] = optimizer.register_step_pre_hook(_hook(network, take))


def _hook(network: str, take: Any) -> Any:
    def before_step(optimizer: Optimizer, arguments: Any, settings: Any) -> None:
        take(network, optimizer)

    return before_step


def _gradients(optimizer: Optimizer, names: dict[int, str]) -> Gradients:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return {
        names.get(id(parameter), str(index)): parameter.grad.detach().clone()
        for index, parameter in enumerate(parameters)
        if parameter.grad is not None
    }
