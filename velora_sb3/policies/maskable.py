"""The liquid policy of MaskablePPO."""

from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy

from velora_sb3.policies.mixin import MULTIPLIER, ON_POLICY_INITIALIZATION, ON_POLICY_MULTIPLIER, LiquidPolicyMixin


class LiquidMaskableActorCriticPolicy(LiquidPolicyMixin, MaskableActorCriticPolicy):
    """SB3's ``MaskableActorCriticPolicy`` with a liquid features extractor, for MaskablePPO.

    Takes every argument of ``MaskableActorCriticPolicy`` and of :class:`velora_sb3.memory.LiquidExtractor`.
    """

    defaults = {**LiquidPolicyMixin.defaults, MULTIPLIER: ON_POLICY_MULTIPLIER}
    reactive_initialization = ON_POLICY_INITIALIZATION
