"""The gradients that the optimizers use, as norms and histograms."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from velora_sb3.callbacks.base.optimizers import optimizers_of
from velora_sb3.callbacks.tensors.log_tensors import LogTensors, log_tensors, named_parameters


class LogGradients(LogTensors):
    """Logs norms and histograms of the gradients, of the first update and then of one per period.

    They are captured when an optimizer steps, after any clipping. (What ``grad`` holds after SB3's updates differs:
    with SAC and TD3 the critic's includes the gradients of the actor's loss.) They are in the next row of SB3's log:

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
        self._due: set[str] = set()  # networks whose next step is logged

    def state_dict(self) -> dict[str, Any]:
        """Adds the networks whose gradients are due."""
        return {**super().state_dict(), "due": sorted(self._due)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state."""
        super().load_state_dict(state)
        self._due = set(state.get("due", ()))

    def _on_start(self) -> None:
        if self.is_new_run:
            self._due = set(optimizers_of(self.model))
        self._add_hooks()

    def _on_rollout_start(self) -> None:
        for network in self._hooks.keys() - self._due:  # not within the hook: torch iterates over them
            self._hooks.pop(network).remove()
        if self._trigger.crossed(self.model.num_timesteps):
            self._due = set(optimizers_of(self.model))
            self._add_hooks()

    def _on_end(self) -> None:
        for hook in self._hooks.values():
            hook.remove()
        self._hooks.clear()

    def _add_hooks(self) -> None:
        """Log the gradients of the next step of each optimizer that is due."""
        for network, optimizer in optimizers_of(self.model).items():
            if network in self._due and network not in self._hooks:
                self._hooks[network] = optimizer.register_step_pre_hook(partial(self._log, network))

    def _log(self, network: str, optimizer: Optimizer, *_: Any) -> None:
        if network in self._due:
            self._due.remove(network)
            parameters = named_parameters(self.model, optimizer)
            gradients = {name: one.grad.detach() for name, one in parameters.items() if one.grad is not None}
            if gradients:
                log_tensors(self.logger, "gradients", network, gradients, self.histograms)
