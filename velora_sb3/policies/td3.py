"""The liquid policy of TD3 and DDPG."""

from stable_baselines3.td3.policies import TD3Policy

from velora_sb3.policies.mixin import LiquidPolicyMixin


class LiquidTD3Policy(LiquidPolicyMixin, TD3Policy):
    """SB3's ``TD3Policy`` with a liquid features extractor, for TD3 and DDPG.

    Takes every argument of ``TD3Policy`` and of :class:`velora_sb3.memory.LiquidExtractor`.
    """
