"""The liquid policy of QR-DQN and RecurrentQRDQN."""

from __future__ import annotations

from sb3_contrib.qrdqn.policies import QRDQNPolicy, QuantileNetwork

from velora_sb3.policies.recurrent_off_policy import RecurrentPolicyMixin, SequenceFeatures


class _QuantileNetwork(SequenceFeatures, QuantileNetwork):
    """sb3-contrib's ``QuantileNetwork`` that also takes windows and states."""


class LiquidQRDQNPolicy(RecurrentPolicyMixin, QRDQNPolicy):
    """sb3-contrib's ``QRDQNPolicy`` with a liquid features extractor, for QR-DQN and RecurrentQRDQN.

    Takes every argument of ``QRDQNPolicy`` and of :class:`velora_sb3.memory.LiquidExtractor`.
    """

    # The loss compares every pair of quantiles in each of 512 rows: QR-DQN's default of 200 quantiles is slow.
    recurrent_defaults = {**RecurrentPolicyMixin.recurrent_defaults, "n_quantiles": 25}
    acting_network = "quantile_net"
    mixed_memory_by_default = False

    def make_quantile_net(self) -> QuantileNetwork:
        """sb3-contrib's quantile network, which also takes windows and states."""
        return self._make_network(_QuantileNetwork, self.net_args)
