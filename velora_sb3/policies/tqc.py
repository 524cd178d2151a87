"""The liquid policy of TQC and RecurrentTQC."""

from __future__ import annotations

from typing import Any

from sb3_contrib.tqc.policies import Actor, Critic, TQCPolicy

from velora_sb3.policies.recurrent_off_policy import RecurrentPolicyMixin, SequenceCritic, SquashedActor


class _Actor(SquashedActor, Actor):
    """sb3-contrib's ``Actor`` that also takes windows and states."""


class _Critic(SequenceCritic, Critic):
    """sb3-contrib's ``Critic`` that also takes windows and states."""


class LiquidTQCPolicy(RecurrentPolicyMixin, TQCPolicy):
    """sb3-contrib's ``TQCPolicy`` with a liquid features extractor, for TQC and RecurrentTQC.

    Takes every argument of ``TQCPolicy`` and of :class:`velora_sb3.memory.LiquidExtractor`.
    """

    def make_actor(self, features_extractor: Any = None) -> Actor:
        """sb3-contrib's actor, which also takes windows and states."""
        return self._make_network(_Actor, self.actor_kwargs, features_extractor)

    def make_critic(self, features_extractor: Any = None) -> Critic:
        """sb3-contrib's critics, which also take windows and states."""
        return self._make_network(_Critic, self.critic_kwargs, features_extractor)
