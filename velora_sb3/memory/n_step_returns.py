"""n-step returns within windows."""

from __future__ import annotations

import numpy as np


def n_step_returns(rewards: np.ndarray, ended: np.ndarray, n_steps: int, gamma: float) -> tuple[np.ndarray, np.ndarray]:
    """Sum the rewards of up to ``n_steps`` steps, fewer where the episode or the window ends sooner.

    Args:
        rewards: ``(L, B)``.
        ended: Whether the step was the last of its episode, terminated or truncated ``(L, B)``.
        n_steps: Rewards in a return.
        gamma: Discount per step.

    Returns:
        The returns, and the last step of each ``(L, B)``; they bootstrap from the value after that step.

    References:
        Sutton and Barto (2018), "Reinforcement Learning", chapter 7, equation 7.1.
    """
    returns, last = rewards.copy(), np.repeat(np.arange(len(rewards))[:, None], rewards.shape[1], axis=1)
    continues = ~ended  # whether the episode still runs after k steps of the return
    for k in range(1, min(n_steps, len(rewards))):
        continues = continues[:-1]
        returns[:-k] += np.where(continues, gamma**k * rewards[k:], 0)
        last[:-k] += continues
        continues = continues & ~ended[k:]
    return returns, last
