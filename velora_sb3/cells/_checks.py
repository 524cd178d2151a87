"""Checks of the tensors that a cell is called with."""

from __future__ import annotations

import torch
from torch.nn.utils.rnn import PackedSequence

from velora_sb3.cells.kernels.plain_form import needs_plain_form


def check_tensor(name: str, value: object) -> None:
    """Raise ``TypeError`` unless ``value`` is a tensor."""
    if not isinstance(value, torch.Tensor):
        packed = isinstance(value, PackedSequence)
        mend = "torch.nn.utils.rnn.pad_packed_sequence()" if packed else "torch.as_tensor()"
        raise TypeError(f"{name} must be a tensor, got {type(value).__name__}: convert it with {mend}")


def check_inputs(inputs: torch.Tensor, rank: int, width: int) -> None:
    """Raise ``ValueError`` unless ``inputs`` is ``(B, width)`` (rank 2) or ``(T, B, width)`` (rank 3)."""
    layout = "(batch, features)" if rank == 2 else "(time, batch, features)"
    if inputs.dim() != rank:
        raise ValueError(f"inputs must have {rank} dimensions {layout}, got shape {tuple(inputs.shape)}")
    if inputs.shape[-1] != width:
        raise ValueError(f"inputs must have {width} features in the last dimension, got shape {tuple(inputs.shape)}")
    if rank == 3 and inputs.shape[0] == 0:
        raise ValueError(f"inputs must have at least one time step, got shape {tuple(inputs.shape)}")


def check_state(state: torch.Tensor | None, inputs: torch.Tensor, size: int) -> None:
    """Raise unless ``state`` is None or one tensor ``(batch, size)`` of the type of the inputs ``(..., batch, F)``."""
    if state is None:
        return
    batch = inputs.shape[-2]
    if not isinstance(state, torch.Tensor):
        raise TypeError(
            f"state must be one tensor of shape ({batch}, {size}), got {type(state).__name__}; "
            "with mixed memory, pass torch.cat([h, c], dim=-1)"
        )
    if state.shape != (batch, size):
        raise ValueError(f"state must have shape ({batch}, {size}), got {tuple(state.shape)}")
    if state.dtype != inputs.dtype:
        raise TypeError(f"state must have the type of the inputs, {inputs.dtype}, got {state.dtype}: convert it")


def check_timespans(timespans: torch.Tensor | None, shape: tuple[int, ...]) -> None:
    """Raise unless ``timespans`` is None or finite and not negative: ``(B,)`` of a step, ``(T, B)`` of a sequence."""
    if timespans is None:
        return
    check_tensor("timespans", timespans)
    if timespans.shape != shape:
        raise ValueError(f"timespans must have shape {shape}, got {tuple(timespans.shape)}")
    if timespans.numel() == 0 or timespans.is_meta or needs_plain_form():  # values that cannot be looked at
        return
    lowest, highest = timespans.detach().aminmax()  # NaN comes out of both
    if not (lowest >= 0 and highest < float("inf")):
        raise ValueError(
            f"timespans must be finite and not negative, got values from {lowest.item()} to {highest.item()}; "
            "exclude them from normalization of observations (VecNormalize: norm_obs_keys)"
        )


def check_episode_starts(episode_starts: torch.Tensor | None, shape: tuple[int, int]) -> None:
    """Raise unless ``episode_starts`` is None or a tensor of shape ``(T, B)``."""
    if episode_starts is None:
        return
    check_tensor("episode_starts", episode_starts)
    if episode_starts.shape != shape:
        raise ValueError(f"episode_starts must have shape {shape}, got {tuple(episode_starts.shape)}")
