"""Recurrent DQN."""

from stable_baselines3 import DQN

from velora_sb3.algorithms.exploration import EpsilonGreedyMixin


class RecurrentDQN(EpsilonGreedyMixin, DQN):  # type: ignore[misc]  # SB3 has defaults in train() that are never used
    """DQN whose agent remembers.

    Arguments as in :class:`~velora_sb3.algorithms.exploration.EpsilonGreedyMixin`.
    """
