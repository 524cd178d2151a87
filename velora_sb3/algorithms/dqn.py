"""Recurrent DQN."""

from stable_baselines3 import DQN

from velora_sb3.algorithms.recurrent_off_policy import EpsilonGreedyMixin


class RecurrentDQN(EpsilonGreedyMixin, DQN):
    """DQN whose agent remembers. Arguments: :class:`~velora_sb3.algorithms.recurrent_off_policy.RecurrentOffPolicyMixin`."""
