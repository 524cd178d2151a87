"""Recurrent TQC."""

from sb3_contrib import TQC

from velora_sb3.algorithms.recurrent_off_policy import RecurrentOffPolicyMixin


class RecurrentTQC(RecurrentOffPolicyMixin, TQC):  # type: ignore[misc]  # SB3 has defaults in train() that are never used
    """TQC whose agent remembers.

    Arguments as in :class:`~velora_sb3.algorithms.recurrent_off_policy.RecurrentOffPolicyMixin`.
    """
