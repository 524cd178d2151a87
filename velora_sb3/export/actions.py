"""From the output of a policy's last layer to an action in the environment's units."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import nn
from torch.nn import functional

MASKED = -1e8  # sb3-contrib's logit of a forbidden action


class ActionRule(nn.Module):
    """How an action follows from the last layer's output.

    Args:
        space: The action space.
        squashed: Whether the policy's actions are in [-1, 1] and are rescaled to the bounds; otherwise clipped.
        tanh: Whether tanh of the output is still to be taken.
        quantiles: Number of quantiles of each action's value, to average; 0 for none.
        maskable: Whether actions can be masked.
    """

    low: torch.Tensor
    high: torch.Tensor

    def __init__(
        self,
        space: spaces.Space[Any],
        squashed: bool = False,
        tanh: bool = False,
        quantiles: int = 0,
        maskable: bool = False,
    ) -> None:
        super().__init__()
        self.space, self.squashed, self.tanh, self.quantiles, self.maskable = space, squashed, tanh, quantiles, maskable
        self.shape: tuple[int, ...] = tuple(space.shape or ())
        self.sizes: list[int] = []  # of each choice
        self.thresholds = isinstance(space, spaces.MultiBinary) and not maskable
        if isinstance(space, spaces.Box):
            self.register_buffer("low", torch.as_tensor(space.low.astype(np.float32)).flatten())
            self.register_buffer("high", torch.as_tensor(space.high.astype(np.float32)).flatten())
        elif isinstance(space, spaces.Discrete):
            self.sizes = [int(space.n)]
        elif isinstance(space, spaces.MultiDiscrete):
            self.sizes = [int(n) for n in space.nvec]
        elif isinstance(space, spaces.MultiBinary):
            self.sizes = [2] * int(np.prod(self.shape))

    @property
    def continuous(self) -> bool:
        """Whether actions are real numbers."""
        return isinstance(self.space, spaces.Box)

    @property
    def width(self) -> int:
        """How many numbers an action has."""
        return int(np.prod(self.shape))

    @property
    def mask_width(self) -> int:
        """How many values a mask has."""
        return sum(self.sizes)

    def forward(
        self, outputs: torch.Tensor, masks: torch.Tensor | None, noise: torch.Tensor | None, log_std: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The action, and the action as the policy remembers it.

        Args:
            outputs: ``(B, O)``.
            masks: ``(B, D)``, true where an action is allowed.
            noise: ``(B, A)`` of a standard normal distribution, or ``(B, D)`` in (0, 1) for choices; None for the most
                likely action.
            log_std: Logarithm of the standard deviation of a Gaussian policy.

        Returns:
            ``(B, *shape)``, float32 or int64; and ``(B, A)``: scaled to [-1, 1], or one-hot.
        """
        if self.continuous:
            if noise is not None:
                outputs = outputs + torch.exp(log_std) * noise
            scaled = torch.tanh(outputs) if self.tanh else outputs
            if self.squashed:
                action = self.low + 0.5 * (scaled + 1.0) * (self.high - self.low)
            else:
                action = torch.minimum(torch.maximum(scaled, self.low), self.high)
            return action.reshape(-1, *self.shape), scaled
        if self.quantiles:
            outputs = outputs.reshape(-1, self.quantiles, self.sizes[0]).mean(1)
        if masks is not None:
            outputs = torch.where(masks, outputs, torch.full_like(outputs, MASKED))
        if self.thresholds:
            chances = torch.sigmoid(outputs)
            chosen = (chances > (0.5 if noise is None else noise)).long()
            return chosen.reshape(-1, *self.shape), chosen.float()
        if noise is not None:  # Gumbel: the argmax is then a sample
            outputs = outputs - torch.log(-torch.log(noise))
        choices = [torch.argmax(part, dim=1) for part in torch.split(outputs, self.sizes, dim=1)]
        if len(self.sizes) > 1 or self.shape:
            action = torch.stack(choices, dim=1).reshape(-1, *self.shape)
            return action, action.float()
        return choices[0], functional.one_hot(choices[0], self.sizes[0]).float()
