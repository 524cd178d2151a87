"""The liquid policy of QR-DQN."""

from sb3_contrib.qrdqn.policies import QRDQNPolicy

from velora_sb3.policies.mixin import LiquidPolicyMixin


class LiquidQRDQNPolicy(LiquidPolicyMixin, QRDQNPolicy):
    """SB3's ``QRDQNPolicy`` with a liquid features extractor, for QR-DQN.

    Takes every argument of ``QRDQNPolicy`` and of :class:`velora_sb3.memory.LiquidExtractor`. A ReLU layer of 64 units
    stands before the cell unless ``encoder_units`` says otherwise: docs/decisions.md shows what it is good for.
    """

    defaults = {"net_arch": [64], "encoder_units": 64}
