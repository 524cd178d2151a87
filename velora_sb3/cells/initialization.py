"""What cells with a mask and a recurrent matrix for each gate have in common."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from velora_sb3._validation import check_choice

INITIALIZATIONS = ("ncps", "orthogonal", "orthogonal_inputs")
INPUT_GAIN = 2.0  # SB3's gain of sqrt(2), and another sqrt(2) because a CfC takes the mean of two heads


def initialize(
    inputs: Sequence[torch.Tensor],
    recurrent: Sequence[torch.Tensor],
    hidden_size: int,
    initialization: str,
    fan_out: int | None = None,
) -> None:
    """Initialize the weights of gates: ``inputs`` ``(gates * H, F)`` and ``recurrent`` ``(gates * H, H)``.

    ``CfCCell.reset_parameters`` describes each initialization; with ``orthogonal_inputs`` the outputs of a first step
    are as large as those of SB3's layers.
    """
    check_choice("initialization", initialization, INITIALIZATIONS)
    features = inputs[0].shape[1]
    bound = (6 / (features + hidden_size + (fan_out or hidden_size))) ** 0.5
    for weight in inputs:
        if initialization == "orthogonal_inputs":
            for gate in weight.split(fan_out or hidden_size):
                nn.init.orthogonal_(gate, INPUT_GAIN)
        else:
            own = bound if initialization == "ncps" else features**-0.5
            nn.init.uniform_(weight, -own, own)
    for weight in recurrent:
        if initialization == "orthogonal":
            for gate in weight.split(hidden_size):
                nn.init.orthogonal_(gate)
        else:
            nn.init.uniform_(weight, -bound, bound)


def check_mask(mask: torch.Tensor, input_size: int, hidden_size: int) -> torch.Tensor:
    """A ``sparsity_mask`` ``(F + H, H)`` as a mask of one gate's weights ``(H, F + H)`` of zeros and ones."""
    shape = (input_size + hidden_size, hidden_size)
    if tuple(mask.shape) != shape:
        raise ValueError(f"sparsity_mask must have shape {shape}, got {tuple(mask.shape)}")
    return (mask.t() != 0).float()
