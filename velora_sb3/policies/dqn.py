"""The liquid policy of DQN and RecurrentDQN."""

from __future__ import annotations

from stable_baselines3.dqn.policies import DQNPolicy, QNetwork

from velora_sb3.policies.recurrent_off_policy import RecurrentPolicyMixin, SequenceFeatures


class _QNetwork(SequenceFeatures, QNetwork):
    """SB3's ``QNetwork`` that also takes windows and states."""


class LiquidDQNPolicy(RecurrentPolicyMixin, DQNPolicy):
    """SB3's ``DQNPolicy`` with a liquid features extractor, for DQN and RecurrentDQN.

    Takes every argument of ``DQNPolicy`` and of :class:`velora_sb3.memory.LiquidExtractor`.
    """

    acting_network = "q_net"

    def make_q_net(self) -> QNetwork:
        """As SB3's, of a network that takes windows."""
        arguments = self._update_features_extractor(self.net_args, features_extractor=None)
        return _QNetwork(**arguments).to(self.device)
