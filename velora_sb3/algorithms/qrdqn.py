"""Recurrent QRDQN."""

from sb3_contrib import QRDQN

from velora_sb3.algorithms.recurrent_off_policy import EpsilonGreedyMixin


class RecurrentQRDQN(EpsilonGreedyMixin, QRDQN):
    """QRDQN whose agent remembers. Arguments: :class:`~velora_sb3.algorithms.recurrent_off_policy.RecurrentOffPolicyMixin`."""
