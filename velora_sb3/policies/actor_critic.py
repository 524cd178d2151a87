"""The liquid policy of PPO, A2C and TRPO."""

from stable_baselines3.common.policies import ActorCriticPolicy

from velora_sb3.policies.mixin import LiquidOnPolicyMixin


class LiquidActorCriticPolicy(LiquidOnPolicyMixin, ActorCriticPolicy):
    """SB3's ``ActorCriticPolicy`` with a liquid features extractor, for PPO, A2C and TRPO.

    Takes every argument of ``ActorCriticPolicy`` and of :class:`velora_sb3.memory.LiquidExtractor`.
    """
