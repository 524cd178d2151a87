"""The liquid policy of SAC."""

from stable_baselines3.sac.policies import SACPolicy

from velora_sb3.policies.mixin import LiquidPolicyMixin


class LiquidSACPolicy(LiquidPolicyMixin, SACPolicy):
    """SB3's ``SACPolicy`` with a liquid features extractor, for SAC.

    Takes every argument of ``SACPolicy`` and of :class:`velora_sb3.memory.LiquidExtractor`.
    """
