"""Liquid policies: SB3's policy classes with a liquid network as features extractor."""

from velora_sb3.policies.actor_critic import LiquidActorCriticPolicy
from velora_sb3.policies.algorithm_check import ALIAS, policy_for
from velora_sb3.policies.ars import LiquidARSPolicy
from velora_sb3.policies.crossq import LiquidCrossQPolicy
from velora_sb3.policies.dqn import LiquidDQNPolicy
from velora_sb3.policies.maskable import LiquidMaskableActorCriticPolicy
from velora_sb3.policies.qrdqn import LiquidQRDQNPolicy
from velora_sb3.policies.recurrent_actor_critic import (
    LiquidRecurrentActorCriticPolicy,
    LiquidRecurrentMaskableActorCriticPolicy,
)
from velora_sb3.policies.recurrent_lstm import (
    LstmActorCriticCnnPolicy,
    LstmActorCriticPolicy,
    LstmMultiInputActorCriticPolicy,
)
from velora_sb3.policies.recurrent_maskable import (
    RecurrentMaskableActorCriticCnnPolicy,
    RecurrentMaskableActorCriticPolicy,
    RecurrentMaskableMultiInputActorCriticPolicy,
)
from velora_sb3.policies.registry import POLICIES, register
from velora_sb3.policies.sac import LiquidSACPolicy
from velora_sb3.policies.td3 import LiquidTD3Policy
from velora_sb3.policies.tqc import LiquidTQCPolicy

__all__ = [
    "ALIAS",
    "POLICIES",
    "LiquidARSPolicy",
    "LiquidActorCriticPolicy",
    "LiquidCrossQPolicy",
    "LiquidDQNPolicy",
    "LiquidMaskableActorCriticPolicy",
    "LiquidQRDQNPolicy",
    "LiquidRecurrentActorCriticPolicy",
    "LiquidRecurrentMaskableActorCriticPolicy",
    "LiquidSACPolicy",
    "LiquidTD3Policy",
    "LiquidTQCPolicy",
    "LstmActorCriticCnnPolicy",
    "LstmActorCriticPolicy",
    "LstmMultiInputActorCriticPolicy",
    "RecurrentMaskableActorCriticCnnPolicy",
    "RecurrentMaskableActorCriticPolicy",
    "RecurrentMaskableMultiInputActorCriticPolicy",
    "policy_for",
    "register",
]
