"""Run a cell over time, with a reset where an episode starts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from velora_sb3.cells._checks import check_episode_starts, check_inputs, check_state, check_tensor, check_timespans
from velora_sb3.cells.cell import LiquidCell, as_floats, outside_autocast
from velora_sb3.cells.kernels.plain_form import autocasts, is_tracing


def unroll(
    cell: LiquidCell,
    inputs: torch.Tensor,
    state: torch.Tensor | None = None,
    *,
    episode_starts: torch.Tensor | None = None,
    timespans: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Run a cell over a batch of sequences.

    Equivalent to calling the cell step by step, with the state set to zero before each step where an episode starts.

    Args:
        cell: Any liquid cell.
        inputs: ``(T, B, input_size)``.
        state: State before the first step ``(B, state_size)``; None is the zero state.
        episode_starts: ``(T, B)``, true (or 1) at the first step of an episode.
        timespans: Time since the last step ``(T, B)``, not negative, in the environment's time unit; None is 1.

    Returns:
        Outputs ``(T, B, output_size)`` and the last state ``(B, state_size)``.

    Raises:
        ValueError: If a shape or a value is wrong.
        TypeError: If an argument is no tensor, or the state is not of the inputs' type.
    """
    return _unroll(cell.outputs, cell, inputs, state, episode_starts, timespans)


def unroll_states(
    cell: LiquidCell,
    inputs: torch.Tensor,
    state: torch.Tensor | None = None,
    *,
    episode_starts: torch.Tensor | None = None,
    timespans: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """As :func:`unroll`, with the state after every step.

    Args:
        cell: Any liquid cell.
        inputs: ``(T, B, input_size)``.
        state: State before the first step ``(B, state_size)``; None is the zero state.
        episode_starts: ``(T, B)``, true (or 1) at the first step of an episode.
        timespans: Time since the last step ``(T, B)``, not negative, in the environment's time unit; None is 1.

    Returns:
        Outputs ``(T, B, output_size)`` and states ``(T, B, state_size)``.

    Raises:
        ValueError: If a shape or a value is wrong.
        TypeError: If an argument is no tensor, or the state is not of the inputs' type.
    """
    outputs, states = _unroll(cell.sequence, cell, inputs, state, episode_starts, timespans)
    return outputs, states.unsqueeze(0) if states.dim() == 2 else states


def _unroll(
    run: Callable[..., tuple[torch.Tensor, torch.Tensor]],
    cell: LiquidCell,
    inputs: torch.Tensor,
    state: torch.Tensor | None,
    episode_starts: torch.Tensor | None,
    timespans: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs and what ``run`` returns beside them; for a single step its state ``(B, S)``."""
    check_tensor("inputs", inputs)
    if autocasts(inputs):
        return outside_autocast(partial(_unroll, run), cell, inputs, state, episode_starts, timespans)
    inputs = as_floats(cell, inputs)
    traced = is_tracing()
    if not traced:
        check_inputs(inputs, 3, cell.input_size)
        steps, batch = inputs.shape[:2]
        check_state(state, inputs, cell.state_size)
        check_episode_starts(episode_starts, (steps, batch))
        check_timespans(timespans, (steps, batch))
    starts = None if episode_starts is None else (episode_starts != 0).unsqueeze(-1)
    timed = None if timespans is None else timespans.to(inputs.dtype).unsqueeze(-1)
    if not traced and steps == 1:  # acting: a single step needs no sequence kernel
        if starts is not None and state is not None:
            state = torch.where(starts[0], 0, state)
        prepared = cell.prepare(timed is not None)
        output, state = cell.step(prepared, inputs[0], state, None if timed is None else timed[0])
        return output.unsqueeze(0), state
    return run(inputs, state, starts, timed)
