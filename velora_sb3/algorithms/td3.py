"""Recurrent TD3."""

from stable_baselines3 import TD3

from velora_sb3.algorithms.exploration import DeterministicActorMixin


class RecurrentTD3(DeterministicActorMixin, TD3):  # type: ignore[misc]  # SB3 has defaults in train() that are never used
    """TD3 whose agent remembers.

    Arguments as in :class:`~velora_sb3.algorithms.exploration.DeterministicActorMixin`.
    """
