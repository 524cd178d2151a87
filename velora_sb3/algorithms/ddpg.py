"""Recurrent DDPG."""

from stable_baselines3 import DDPG

from velora_sb3.algorithms.exploration import DeterministicActorMixin


class RecurrentDDPG(DeterministicActorMixin, DDPG):  # type: ignore[misc]  # SB3 has defaults in train() that are never used
    """DDPG whose agent remembers.

    Arguments as in :class:`~velora_sb3.algorithms.exploration.DeterministicActorMixin`.
    """
