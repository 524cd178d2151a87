"""The weights of the networks, as norms and histograms."""

from __future__ import annotations

from stable_baselines3.common.base_class import BaseAlgorithm

from velora_sb3.callbacks.base.optimizers import optimizers_of
from velora_sb3.callbacks.tensors.log_tensors import LogTensors, log_tensors, parameter_names


class LogParameters(LogTensors):
    """Logs norms and histograms of the weights, at the start of training and every so many timesteps.

    They are taken at the first start of a rollout from then on, when updates are finished. The keys are
    ``parameters/norm/<network>`` for a whole network, ``parameters/norm/<network>/<name>`` and
    ``parameters/histogram/<network>/<name>`` for each tensor; networks are called ``policy``, or ``actor``, ``critic``
    and ``ent_coef``. Target networks are left out.

    Args:
        every_n_timesteps: How often, over all environments.
        histograms: Whether to log histograms beside the norms.
        verbose: 0 for silence, 1 to print what it does.

    Raises:
        ValueError: If ``every_n_timesteps`` is no whole number of at least 1; when training starts, if it is the child
            of an event.
    """

    def _on_start(self) -> None:
        super()._on_start()
        self._is_due = self.is_new_run

    def _on_rollout_start(self) -> None:
        if self._every.crossed(self.model.num_timesteps) or self._is_due:
            self._is_due = False
            _record(self, self.model)


def _record(callback: LogParameters, model: BaseAlgorithm) -> None:
    names = parameter_names(model)
    optimized = {
        network: [parameter for group in optimizer.param_groups for parameter in group["params"]]
        for network, optimizer in optimizers_of(model).items()
    } or {"policy": list(model.policy.parameters())}  # ARS has no optimizer
    for network, parameters in optimized.items():
        named = {names.get(id(parameter), str(index)): parameter.detach() for index, parameter in enumerate(parameters)}
        log_tensors(callback.logger, "parameters", network, named, callback.histograms)
