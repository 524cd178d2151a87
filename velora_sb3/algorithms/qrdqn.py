"""Recurrent QRDQN."""

from sb3_contrib import QRDQN

from velora_sb3.algorithms.exploration import EpsilonGreedyMixin


class RecurrentQRDQN(EpsilonGreedyMixin, QRDQN):  # type: ignore[misc]  # SB3 has defaults in train() that are never used
    """QRDQN whose agent remembers.

    Arguments as in :class:`~velora_sb3.algorithms.exploration.EpsilonGreedyMixin`.
    """
