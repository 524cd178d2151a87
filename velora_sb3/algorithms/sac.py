"""Recurrent SAC."""

from stable_baselines3 import SAC

from velora_sb3.algorithms.recurrent_off_policy import RecurrentOffPolicyMixin


class RecurrentSAC(RecurrentOffPolicyMixin, SAC):
    """SAC whose agent remembers. Arguments: :class:`~velora_sb3.algorithms.recurrent_off_policy.RecurrentOffPolicyMixin`."""
