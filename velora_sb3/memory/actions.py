"""Actions as a network that remembers sees them: scaled to [-1, 1], or one-hot."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch.nn import functional


def action_size(space: spaces.Space[Any]) -> int:
    """Width of an encoded action."""
    if isinstance(space, spaces.Box):
        return int(np.prod(space.shape))
    if isinstance(space, spaces.Discrete):
        if space.start != 0:
            raise ValueError(f"SB3's DQN and QR-DQN count actions from 0, the action space from {space.start}: {space}")
        return int(space.n)
    raise ValueError(f"a recurrent off-policy algorithm acts in a Box or Discrete space, got {space}")


def encode_actions(actions: torch.Tensor, space: spaces.Space[Any]) -> torch.Tensor:
    """Encode actions as the replay buffer stores them.

    Args:
        actions: ``(N, ...)``: scaled to [-1, 1] for a Box, numbers for a Discrete space.
        space: The action space.

    Returns:
        ``(N, A)``, float32.
    """
    if isinstance(space, spaces.Discrete):
        return functional.one_hot(actions.reshape(-1).long(), int(space.n)).float()
    return actions.reshape(len(actions), -1).float()
