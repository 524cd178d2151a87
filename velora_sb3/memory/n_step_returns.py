"""Returns over several steps of a window."""

from __future__ import annotations

import numpy as np


def n_step_returns(rewards: np.ndarray, ended: np.ndarray, n_steps: int, gamma: float) -> tuple[np.ndarray, np.ndarray]:
    """Sum the rewards of up to ``n_steps`` steps, fewer where an episode or the window ends before.

    Args:
        rewards: ``(L, B)``.
        ended: Whether an episode ended with the step, for whatever reason ``(L, B)``.
        n_steps: Rewards of a return.
        gamma: Discount for each step.

    Returns:
        The returns, and the last step of each ``(L, B)``; the value after that one is what they bootstrap from.

    References:
        Sutton and Barto (2018), "Reinforcement Learning", chapter 7, equation 7.1.
    """
    returns, last = rewards.copy(), np.repeat(np.arange(len(rewards))[:, None], rewards.shape[1], axis=1)
    going_on = ~ended
    for ahead in range(1, min(n_steps, len(rewards))):
        going_on = going_on[:-1]
        returns[:-ahead] += gamma**ahead * rewards[ahead:] * going_on
        last[:-ahead] += going_on
        going_on = going_on & ~ended[ahead:]
    return returns, last
