"""The liquid policy of TQC."""

from sb3_contrib.tqc.policies import TQCPolicy

from velora_sb3.policies.mixin import LiquidPolicyMixin


class LiquidTQCPolicy(LiquidPolicyMixin, TQCPolicy):
    """SB3's ``TQCPolicy`` with a liquid features extractor, for TQC.

    Takes every argument of ``TQCPolicy`` and of :class:`velora_sb3.memory.LiquidExtractor`.
    """
