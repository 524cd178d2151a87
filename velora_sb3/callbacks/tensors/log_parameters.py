"""The weights of the networks, as norms and histograms."""

from __future__ import annotations

from velora_sb3.callbacks.base.optimizers import optimizers_of
from velora_sb3.callbacks.tensors.log_tensors import LogTensors, log_tensors, named_parameters


class LogParameters(LogTensors):
    """Logs norms and histograms of the weights, at the start of training and then once per period.

    They are logged when the next rollout starts, after the updates:

    - ``parameters/norm/<network>``: the norm over a whole network, ``policy``, or ``actor``, ``critic`` and
      ``ent_coef``;
    - ``parameters/norm/<network>/<name>`` and ``parameters/histogram/<network>/<name>``: each tensor;
    - ``parameters/nonfinite/<network>``: the number of NaN and infinite values, if there are any.

    Target networks are excluded.

    Args:
        every_n_timesteps: Period in timesteps, over all environments.
        histograms: Whether to log histograms as well.
        verbose: 0 for no output, 1 to print the settings.

    Raises:
        ValueError: If ``every_n_timesteps`` is not an integer of at least 1; when training starts, if the callback is
            the child of an event.
    """

    def _on_start(self) -> None:
        self._is_due = self.is_new_run

    def _on_rollout_start(self) -> None:
        if self._trigger.crossed(self.model.num_timesteps) or self._is_due:
            self._is_due = False
            optimizers = optimizers_of(self.model)  # none with ARS
            networks = {network: named_parameters(self.model, optimizer) for network, optimizer in optimizers.items()}
            for network, parameters in (networks or {"policy": dict(self.model.policy.named_parameters())}).items():
                weights = {name: parameter.detach() for name, parameter in parameters.items()}
                log_tensors(self.logger, "parameters", network, weights, self.histograms)
