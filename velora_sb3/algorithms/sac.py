"""Recurrent SAC."""

from stable_baselines3 import SAC

from velora_sb3.algorithms.recurrent_off_policy import RecurrentOffPolicyMixin


class RecurrentSAC(RecurrentOffPolicyMixin, SAC):  # type: ignore[misc]  # SB3 has defaults in train() that are never used
    """SAC whose agent remembers.

    Arguments as in :class:`~velora_sb3.algorithms.recurrent_off_policy.RecurrentOffPolicyMixin`.
    """
