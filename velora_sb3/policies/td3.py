"""The liquid policy of TD3, DDPG and their recurrent forms."""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.policies import ContinuousCritic
from stable_baselines3.td3.policies import Actor, TD3Policy

from velora_sb3.policies.recurrent_off_policy import RecurrentPolicyMixin, SequenceCritic, SequenceFeatures


class _Actor(SequenceFeatures, Actor):
    """SB3's ``Actor`` that also takes windows and states."""


class _ContinuousCritic(SequenceCritic, ContinuousCritic):
    """SB3's ``ContinuousCritic`` that also takes windows and states."""


class LiquidTD3Policy(RecurrentPolicyMixin, TD3Policy):
    """SB3's ``TD3Policy`` with a liquid features extractor, for TD3, DDPG and their recurrent forms.

    Takes every argument of ``TD3Policy`` and of :class:`velora_sb3.memory.LiquidExtractor`.
    """

    def make_actor(self, features_extractor: Any = None) -> Actor:
        """SB3's actor, which also takes windows and states."""
        return self._make_network(_Actor, self.actor_kwargs, features_extractor)

    def make_critic(self, features_extractor: Any = None) -> ContinuousCritic:
        """SB3's critics, which also take windows and states."""
        return self._make_network(_ContinuousCritic, self.critic_kwargs, features_extractor)
