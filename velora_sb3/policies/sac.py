"""The liquid policy of SAC and RecurrentSAC."""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.policies import ContinuousCritic
from stable_baselines3.sac.policies import Actor, SACPolicy

from velora_sb3.policies.recurrent_off_policy import RecurrentPolicyMixin, SequenceCritic, SquashedActor


class _Actor(SquashedActor, Actor):
    """SB3's ``Actor`` that also takes windows and states."""


class _ContinuousCritic(SequenceCritic, ContinuousCritic):
    """SB3's ``ContinuousCritic`` that also takes windows and states."""


class LiquidSACPolicy(RecurrentPolicyMixin, SACPolicy):
    """SB3's ``SACPolicy`` with a liquid features extractor, for SAC and RecurrentSAC.

    Takes every argument of ``SACPolicy`` and of :class:`velora_sb3.memory.LiquidExtractor`.
    """

    def make_actor(self, features_extractor: Any = None) -> Actor:
        """SB3's actor, which also takes windows and states."""
        return self._make_network(_Actor, self.actor_kwargs, features_extractor)

    def make_critic(self, features_extractor: Any = None) -> ContinuousCritic:
        """SB3's critics, which also take windows and states."""
        return self._make_network(_ContinuousCritic, self.critic_kwargs, features_extractor)
