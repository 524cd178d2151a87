"""The liquid policy of MaskablePPO."""

from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy

from velora_sb3.policies.mixin import LiquidOnPolicyMixin


class LiquidMaskableActorCriticPolicy(LiquidOnPolicyMixin, MaskableActorCriticPolicy):
    """SB3's ``MaskableActorCriticPolicy`` with a liquid features extractor, for MaskablePPO.

    Takes every argument of ``MaskableActorCriticPolicy`` and of :class:`velora_sb3.memory.LiquidExtractor`.
    """
