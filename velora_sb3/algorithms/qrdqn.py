"""Recurrent QRDQN."""

from __future__ import annotations

from typing import Any

from sb3_contrib import QRDQN

from velora_sb3.algorithms.exploration import EpsilonGreedyMixin


class RecurrentQRDQN(EpsilonGreedyMixin, QRDQN):  # type: ignore[misc]  # SB3 has defaults in train() that are never used
    """QRDQN whose agent remembers.

    Args:
        policy: As :class:`~velora_sb3.algorithms.exploration.EpsilonGreedyMixin`'s.
        env: The same.
        learning_rate: As SB3's.
        tau: Share of the way that the target network goes at each update of it, twice DQN's.
        **kwargs: As :class:`~velora_sb3.algorithms.exploration.EpsilonGreedyMixin`'s.
    """

    def __init__(self, policy: Any, env: Any, learning_rate: Any = 5e-4, *, tau: float = 0.01, **kwargs: Any) -> None:
        super().__init__(policy, env, learning_rate, tau=tau, **kwargs)
