"""The liquid cell with which a model acts, and its steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import nn

from velora_sb3.cells import LiquidCell
from velora_sb3.cells.sequence_module import SequenceModule

# Attributes in which SB3's and sb3-contrib's policies keep the network that chooses actions.
ACTING_NETWORKS = ("lstm_actor", "actor", "q_net", "quantile_net", "pi_features_extractor")


@dataclass
class CellStep:
    """One step of a cell, of one environment.

    Attributes:
        inputs: The cell's inputs ``(1, F)``.
        before: The state before the step ``(1, S)``; None for the zero state.
        after: The state after the step ``(1, S)``.
        timespans: Time since the last observation ``(1,)``; None if the cell does not receive it.
    """

    inputs: torch.Tensor
    before: torch.Tensor | None
    after: torch.Tensor
    timespans: torch.Tensor | None


def find_cell(model: BaseAlgorithm | nn.Module) -> LiquidCell | None:
    """The cell of the network that chooses the actions."""
    policy: Any = model.policy if isinstance(model, BaseAlgorithm) else model
    if isinstance(policy, LiquidCell):
        return policy
    if isinstance(policy, SequenceModule):
        return policy.cell
    for name in ACTING_NETWORKS:
        network = getattr(policy, name, None)
        if isinstance(network, nn.Module) and (cell := _first_cell(network)) is not None:
            return cell
    return _first_cell(policy)


@contextmanager
def recorded_steps(cell: LiquidCell | None) -> Iterator[list[CellStep]]:
    """Record every step of a cell; of a window of observations, which a policy unrolls, the last one."""
    steps: list[CellStep] = []
    if cell is None:
        yield steps
        return
    step, sequence = cell.step, cell.sequence

    def recorded_step(prepared: Any, inputs: Any, state: Any, timespans: Any) -> Any:
        outputs, after = step(prepared, inputs, state, timespans)
        before = None if state is None else state[:1]
        steps.append(CellStep(inputs[:1], before, after[:1], None if timespans is None else timespans[:1, 0]))
        return outputs, after

    def recorded_sequence(inputs: Any, state: Any, starts: Any, timespans: Any) -> Any:
        already = len(steps)
        outputs, states = sequence(inputs, state, starts, timespans)
        del steps[already:]  # a cell without a sequence kernel calls step()
        before = None if len(states) < 2 else states[-2, :1]
        if before is not None and starts is not None:
            before = torch.where(starts[-1, :1], 0, before)
        last_timespans = None if timespans is None else timespans[-1, :1, 0]
        steps.append(CellStep(inputs[-1, :1], before, states[-1, :1], last_timespans))
        return outputs, states

    def recorded_outputs(inputs: Any, state: Any, starts: Any, timespans: Any) -> Any:
        outputs, states = recorded_sequence(inputs, state, starts, timespans)
        return outputs, states[-1]

    recorders = {"step": recorded_step, "sequence": recorded_sequence, "outputs": recorded_outputs}
    cell.__dict__.update(recorders)
    try:
        yield steps
    finally:
        for name in recorders:
            del cell.__dict__[name]


def _first_cell(network: nn.Module) -> LiquidCell | None:
    return next((module for module in network.modules() if isinstance(module, LiquidCell)), None)
