"""The liquid policy of QR-DQN and RecurrentQRDQN."""

from __future__ import annotations

from sb3_contrib.qrdqn.policies import QRDQNPolicy, QuantileNetwork

from velora_sb3.policies.recurrent_off_policy import RecurrentPolicyMixin, SequenceFeatures


class _QuantileNetwork(SequenceFeatures, QuantileNetwork):
    """SB3's ``QuantileNetwork`` that also takes windows and states."""


class LiquidQRDQNPolicy(RecurrentPolicyMixin, QRDQNPolicy):
    """SB3's ``QRDQNPolicy`` with a liquid features extractor, for QR-DQN and RecurrentQRDQN.

    Takes every argument of ``QRDQNPolicy`` and of :class:`velora_sb3.memory.LiquidExtractor`.
    """

    # Every update compares each quantile with each, for 512 rows: 200 of them, the default of QR-DQN, take long.
    recurrent_defaults = {**RecurrentPolicyMixin.recurrent_defaults, "n_quantiles": 25}
    acting_network = "quantile_net"

    def make_quantile_net(self) -> QuantileNetwork:
        """As SB3's, of a network that takes windows."""
        return _QuantileNetwork(**self._update_features_extractor(self.net_args, features_extractor=None)).to(
            self.device
        )
