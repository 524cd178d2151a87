"""The liquid policy of TQC and RecurrentTQC."""

from __future__ import annotations

from typing import Any

from sb3_contrib.tqc.policies import Actor, Critic, TQCPolicy

from velora_sb3.policies.recurrent_off_policy import RecurrentPolicyMixin, SequenceFeatures


class _Actor(SequenceFeatures, Actor):
    """SB3's ``Actor`` that also takes windows and states."""


class _Critic(SequenceFeatures, Critic):
    """SB3's ``Critic`` that also takes windows and states."""


class LiquidTQCPolicy(RecurrentPolicyMixin, TQCPolicy):
    """SB3's ``TQCPolicy`` with a liquid features extractor, for TQC and RecurrentTQC.

    Takes every argument of ``TQCPolicy`` and of :class:`velora_sb3.memory.LiquidExtractor`.
    """

    def make_actor(self, features_extractor: Any = None) -> Actor:
        """As SB3's, of a network that takes windows."""
        arguments = self._update_features_extractor(self.actor_kwargs, features_extractor)
        return _Actor(**arguments).to(self.device)

    def make_critic(self, features_extractor: Any = None) -> Critic:
        """As SB3's, of a network that takes windows."""
        arguments = self._update_features_extractor(self.critic_kwargs, features_extractor)
        return _Critic(**arguments).to(self.device)
