"""Recurrent TQC."""

from sb3_contrib import TQC

from velora_sb3.algorithms.recurrent_off_policy import RecurrentOffPolicyMixin


class RecurrentTQC(RecurrentOffPolicyMixin, TQC):
    """TQC whose agent remembers. Arguments: :class:`~velora_sb3.algorithms.recurrent_off_policy.RecurrentOffPolicyMixin`."""
