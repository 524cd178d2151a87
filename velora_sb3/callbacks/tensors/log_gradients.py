"""The gradients that the optimizers use, as norms and histograms."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from velora_sb3.callbacks.base.optimizers import optimizers_of
from velora_sb3.callbacks.tensors.log_tensors import LogTensors, log_tensors, named_parameters


class LogGradients(LogTensors):
    """Logs norms and histograms of the gradients, of the first update and then of one per period.

    They are captured when an optimizer steps, after any clipping. (What ``grad`` holds after SB3's updates differs:
    with SAC and TD3 the critic's includes the gradients of the actor's loss.) They are logged when the next rollout
    starts:

    - ``gradients/norm/<network>``: the norm over a whole network, ``policy``, or ``actor``, ``critic`` and
      ``ent_coef``;
    - ``gradients/norm/<network>/<name>`` and ``gradients/histogram/<network>/<name>``: each tensor;
    - ``gradients/nonfinite/<network>``: the number of NaN and infinite values, if there are any.

    ARS has no gradients, so nothing is logged. TRPO's optimizer has those of the value network only.

    Args:
        every_n_timesteps: Period in timesteps, over all environments.
        histograms: Whether to log histograms as well.
        verbose: 0 for no output, 1 to print the settings.

    Raises:
        ValueError: If ``every_n_timesteps`` is not an integer of at least 1; when training starts, if the callback is
            the child of an event.
    """

    def __init__(self, every_n_timesteps: int = 10_000, *, histograms: bool = True, verbose: int = 0) -> None:
        super().__init__(every_n_timesteps, histograms=histograms, verbose=verbose)
        self._hooks: dict[str, RemovableHandle] = {}
        self._captured: dict[str, dict[str, torch.Tensor]] = {}

    def _on_start(self) -> None:
        super()._on_start()
        if self.is_new_run:
            self._add_hooks()

    def _on_rollout_start(self) -> None:
        for network, gradients in self._captured.items():
            self._hooks.pop(network).remove()
            if gradients:
                log_tensors(self.logger, "gradients", network, gradients, self.histograms)
        self._captured.clear()
        if self._every.crossed(self.model.num_timesteps):
            self._add_hooks()

    def _on_end(self) -> None:
        for hook in self._hooks.values():
            hook.remove()
        self._hooks.clear()
        self._captured.clear()

    def _add_hooks(self) -> None:
        """Capture the gradients of each optimizer's next step."""
        for network, optimizer in optimizers_of(self.model).items():
            if network not in self._hooks:
                self._hooks[network] = optimizer.register_step_pre_hook(partial(self._capture, network))

    def _capture(self, network: str, optimizer: Optimizer, *_: Any) -> None:
        if network not in self._captured:
            parameters = named_parameters(self.model, optimizer)
            gradients = {name: parameter.grad for name, parameter in parameters.items() if parameter.grad is not None}
            self._captured[network] = {name: gradient.detach().clone() for name, gradient in gradients.items()}
