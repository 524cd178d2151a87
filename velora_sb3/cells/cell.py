"""The interface of liquid cells: one time step, and a whole sequence of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from velora_sb3.cells._checks import check_inputs, check_state, check_tensor, check_timespans
from velora_sb3.cells.kernels.plain_form import autocasts, is_tracing

Result = TypeVar("Result")


def outside_autocast(function: Callable[..., Result], cell: nn.Module, inputs: Any, state: Any, *rest: Any) -> Result:
    """A function of a cell, its inputs and its state, in the precision of the cell's weights.

    A state adds up many small steps, and half precision loses them.
    """
    dtype = next(cell.parameters()).dtype
    state = state.to(dtype) if isinstance(state, torch.Tensor) else state
    with torch.autocast(inputs.device.type, enabled=False):
        return function(cell, inputs.to(dtype), state, *rest)


def as_floats(cell: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Integers and booleans, as one-hot encodings have them, in the type of the cell's weights."""
    return inputs if inputs.is_floating_point() else inputs.to(next(cell.parameters()).dtype)


def recompute_weights(module: nn.Module) -> None:
    """Weights that ``torch.nn.utils`` prunes or normalizes, which torch computes anew where a module is called.

    A sequence is no such call, nor is a step inside another cell.
    """
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, BasePruningMethod | SpectralNorm | WeightNorm):
            hook(module, ())


def with_time(inputs: torch.Tensor, timespans: torch.Tensor | None) -> torch.Tensor:
    """The inputs ``(..., F)`` and, as the last of them, the time since the last step ``(..., 1)``; None is 1."""
    return torch.cat([inputs, inputs.new_ones(*inputs.shape[:-1], 1) if timespans is None else timespans], dim=-1)


class LiquidCell(nn.Module, ABC):
    """One time step of a liquid network.

    Shapes, with ``B`` sequences: inputs ``(B, input_size)``, state ``(B, state_size)``, outputs
    ``(B, output_size)``, timespans ``(B,)``.

    A subclass defines how its weights are prepared and how a step uses them. The two are separate, so that work that
    is the same at every step (masks, positivity) is done once per sequence.
    """

    input_size: int
    state_size: int
    output_size: int

    @abstractmethod
    def prepare(self, timed: bool) -> Any:
        """The weights as a step uses them: masked, positive.

        Args:
            timed: Whether the inputs have timespans; without them some weights are not needed.
        """

    @abstractmethod
    def step(
        self,
        prepared: Any,
        inputs: torch.Tensor,  # (B, F)
        state: torch.Tensor | None,  # (B, S), None for the zero state
        timespans: torch.Tensor | None,  # (B, 1)
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One step with prepared weights; no checks.

        Returns:
            Outputs ``(B, O)`` and the next state ``(B, S)``.
        """

    def sequence(
        self,
        inputs: torch.Tensor,  # (T, B, F)
        state: torch.Tensor | None,  # (B, S)
        starts: torch.Tensor | None,  # (T, B, 1), true where an episode starts
        timespans: torch.Tensor | None,  # (T, B, 1)
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """All steps; no checks. Cells with a fused kernel override this loop.

        Returns:
            Outputs ``(T, B, O)`` and the state after every step ``(T, B, S)``.
        """
        prepared = self.prepare(timespans is not None)
        outputs, states = [], []
        for t, step_inputs in enumerate(inputs.unbind(0)):
            if starts is not None and state is not None:
                state = torch.where(starts[t], 0, state)  # a product would keep NaN
            output, state = self.step(prepared, step_inputs, state, None if timespans is None else timespans[t])
            outputs.append(output)
            states.append(state)
        return torch.stack(outputs), torch.stack(states)

    def outputs(
        self,
        inputs: torch.Tensor,  # (T, B, F)
        state: torch.Tensor | None,  # (B, S)
        starts: torch.Tensor | None,  # (T, B, 1), true where an episode starts
        timespans: torch.Tensor | None,  # (T, B, 1)
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As ``sequence``, for callers that need no state but the last: outputs ``(T, B, O)`` and state ``(B, S)``."""
        outputs, states = self.sequence(inputs, state, starts, timespans)
        return outputs, states[-1]

    def forward(
        self,
        inputs: torch.Tensor,
        state: torch.Tensor | None = None,
        timespans: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One checked time step.

        Args:
            inputs: ``(B, input_size)``.
            state: ``(B, state_size)``; None is the zero state, which saves the recurrent product.
            timespans: Time since the last step ``(B,)``, not negative, in the environment's time unit; None is 1.

        Returns:
            Outputs ``(B, output_size)`` and the next state ``(B, state_size)``.

        Raises:
            ValueError: If a shape or a value is wrong.
            TypeError: If an argument is no tensor, or the state is not of the inputs' type.
        """
        check_tensor("inputs", inputs)
        if autocasts(inputs):
            return outside_autocast(LiquidCell.forward, self, inputs, state, timespans)
        inputs = as_floats(self, inputs)
        if not is_tracing():
            check_inputs(inputs, 2, self.input_size)
            check_state(state, inputs, self.state_size)
            check_timespans(timespans, (inputs.shape[0],))
        timed = None if timespans is None else timespans.to(inputs.dtype).unsqueeze(-1)
        return self.step(self.prepare(timed is not None), inputs, state, timed)
