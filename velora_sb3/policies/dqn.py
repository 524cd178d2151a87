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
    mixed_memory_by_default = False

    def make_q_net(self) -> QNetwork:
        """SB3's Q-network, which also takes windows and states."""
        return self._make_network(_QNetwork, self.net_args)
