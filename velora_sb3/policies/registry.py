"""The table of algorithms and policies, and the alias that each algorithm gets."""

from __future__ import annotations

from sb3_contrib import ARS, QRDQN, TQC, TRPO, CrossQ, MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy

from velora_sb3.policies.actor_critic import LiquidActorCriticPolicy
from velora_sb3.policies.algorithm_check import ALIAS
from velora_sb3.policies.ars import LiquidARSPolicy
from velora_sb3.policies.crossq import LiquidCrossQPolicy
from velora_sb3.policies.dqn import LiquidDQNPolicy
from velora_sb3.policies.maskable import LiquidMaskableActorCriticPolicy
from velora_sb3.policies.mixin import LiquidPolicyMixin
from velora_sb3.policies.qrdqn import LiquidQRDQNPolicy
from velora_sb3.policies.recurrent_actor_critic import LiquidRecurrentActorCriticPolicy
from velora_sb3.policies.sac import LiquidSACPolicy
from velora_sb3.policies.td3 import LiquidTD3Policy
from velora_sb3.policies.tqc import LiquidTQCPolicy

POLICIES: dict[type[BaseAlgorithm], type[BasePolicy]] = {
    DDPG: LiquidTD3Policy,
    TD3: LiquidTD3Policy,
    SAC: LiquidSACPolicy,
    TQC: LiquidTQCPolicy,
    CrossQ: LiquidCrossQPolicy,
    DQN: LiquidDQNPolicy,
    QRDQN: LiquidQRDQNPolicy,
    PPO: LiquidActorCriticPolicy,
    A2C: LiquidActorCriticPolicy,
    TRPO: LiquidActorCriticPolicy,
    MaskablePPO: LiquidMaskableActorCriticPolicy,
    RecurrentPPO: LiquidRecurrentActorCriticPolicy,
    ARS: LiquidARSPolicy,
}


def register() -> None:
    """Register the alias ``"LiquidPolicy"`` with every algorithm of SB3 and sb3-contrib. Idempotent.

    Each class gets a dict of its own: DDPG has none and would share TD3's.

    Raises:
        ValueError: If another library has registered the alias; its entry is left alone.
    """
    for algorithm in POLICIES:
        holder = algorithm.policy_aliases.get(ALIAS)
        if holder is not None and not issubclass(holder, LiquidPolicyMixin):
            raise ValueError(
                f"{algorithm.__name__} already has an alias {ALIAS!r}, {holder.__module__}.{holder.__qualname__}: "
                f"remove it from {algorithm.__name__}.policy_aliases before importing velora_sb3"
            )
    for algorithm, policy in POLICIES.items():
        algorithm.policy_aliases = {**algorithm.policy_aliases, ALIAS: policy}
