"""What policies with a memory share: the default memory, and errors and warnings about weights and states."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy

from velora_sb3.memory.frames import batch_size
from velora_sb3.policies.mixin import LiquidPolicyMixin


def check_episode_start(episode_start: Any, batch: int) -> None:
    """Raise ``ValueError`` unless ``episode_start`` is None or has one value for each observation."""
    if episode_start is not None and count(episode_start) != batch:
        raise ValueError(
            f"episode_start must have one value for each of {batch} observation(s), got {count(episode_start)}"
        )


def check_pair(policy: RecurrentActorCriticPolicy, observation: Any, state: Any, episode_start: Any) -> None:
    """Raise ``ValueError`` unless state and episode starts are this policy's, and of the observation's batch.

    sb3-contrib would take ``N`` observations and the state of one environment for one sequence of ``N`` steps.
    """
    batch = batch_size(observation, policy.observation_space)
    check_episode_start(episode_start, batch)
    layers, _, width = policy.lstm_hidden_state_shape
    shape = (layers, batch, width)
    if state is not None and [np.shape(part) for part in state] != [shape, shape]:
        raise ValueError(
            f"state must be two arrays of shape {shape} for {batch} observation(s), got shapes "
            f"{[np.shape(part) for part in state]}: pass the state that predict() returned for the same environments, "
            "or None"
        )


def count(values: Any) -> int:
    """Number of values in an array, a list or a tensor; numpy's ``size`` gives a tensor's method."""
    return math.prod(np.shape(values))


class StatefulPolicyMixin(LiquidPolicyMixin):
    """A liquid policy whose ``predict`` takes and returns a state."""

    mixed_memory_by_default = True  # of a plain CfC; docs/decisions.md has the measurements
    _stateless_calls = 0
    _warned = False

    def set_training_mode(self, mode: bool) -> None:
        """SB3's; every ``predict`` calls it, so it returns at once if this policy and its networks are in the mode."""
        policy: Any = self
        if policy.training != mode or any(network.training != mode for network in policy.children()):
            super().set_training_mode(mode)  # type: ignore[misc]

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """PyTorch's; says so if the weights are of a model from before mixed memory was the default."""
        policy: Any = self
        missing = [name for name in policy.state_dict() if ".cell.cell." in name and name not in state_dict]
        if any(name.replace(".cell.cell.", ".cell.") in state_dict for name in missing):
            raise RuntimeError(
                "the weights are of a cell without mixed memory, but this policy has it: load the model with its "
                'policy_kwargs and "mixed_memory": False in custom_objects={"policy_kwargs": {...}}'
            )
        return super().load_state_dict(state_dict, *args, **kwargs)  # type: ignore[misc]

    def _warn_if_stateless(self, state: Any, episode_start: Any) -> None:
        """Warn at the second call in a row with neither state nor episode start, once per policy."""
        self._stateless_calls = self._stateless_calls + 1 if state is None and episode_start is None else 0
        if self._stateless_calls == 2 and not self._warned:
            self._warned = True
            warnings.warn(
                "predict() was called twice in a row without state and episode_start: this policy is recurrent, and "
                "such a call starts from the zero state. Pass the state that predict() returns, or use "
                "velora_sb3.StatefulPredictor(model)",
                stacklevel=4,
            )
