"""Actions as inputs of a recurrent network: scaled to [-1, 1], or one-hot."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch.nn import functional


def check_action_start(space: spaces.Space[Any]) -> None:
    """Raise ``ValueError`` if actions do not count from 0, as SB3's policies do whatever the space."""
    start = getattr(space, "start", 0)  # of Discrete a number, of MultiDiscrete one for each dimension
    if np.any(start):
        raise ValueError(
            f"SB3's policies number actions from 0, but {space} starts at {start}: wrap the environment in "
            "gymnasium.wrappers.TransformAction, with a space that starts at 0 and a function that adds the start"
        )


def action_size(space: spaces.Space[Any]) -> int:
    """Width of an encoded action; raises ``ValueError`` for spaces that no off-policy algorithm has."""
    if isinstance(space, spaces.Box):
        return int(np.prod(space.shape))
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    raise ValueError(f"recurrent off-policy algorithms need a Box or Discrete action space, got {space}")


def encode_actions(actions: torch.Tensor, space: spaces.Space[Any]) -> torch.Tensor:
    """Encode actions, given as the replay buffer stores them.

    Args:
        actions: ``(N, ...)``: scaled to [-1, 1] for a Box, numbers for a Discrete space.
        space: The action space.

    Returns:
        ``(N, A)``, float32.
    """
    if isinstance(space, spaces.Discrete):
        return functional.one_hot(actions.reshape(-1).long(), int(space.n)).float()
    return actions.reshape(len(actions), action_size(space)).float()
