"""The liquid policy of DQN."""

from stable_baselines3.dqn.policies import DQNPolicy

from velora_sb3.policies.mixin import LiquidPolicyMixin


class LiquidDQNPolicy(LiquidPolicyMixin, DQNPolicy):
    """SB3's ``DQNPolicy`` with a liquid features extractor, for DQN.

    Takes every argument of ``DQNPolicy`` and of :class:`velora_sb3.memory.LiquidExtractor`. A ReLU layer of 64 units
    stands before the cell unless ``encoder_units`` says otherwise: docs/decisions.md shows what it is good for.
    """

    defaults = {"net_arch": [64], "encoder_units": 64}
