"""Recurrent DDPG."""

from stable_baselines3 import DDPG

from velora_sb3.algorithms.recurrent_off_policy import RecurrentOffPolicyMixin


class RecurrentDDPG(RecurrentOffPolicyMixin, DDPG):
    """DDPG whose agent remembers. Arguments: :class:`~velora_sb3.algorithms.recurrent_off_policy.RecurrentOffPolicyMixin`."""
