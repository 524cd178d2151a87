"""Algorithms and action noise by FinRL-style names."""

from __future__ import annotations

from sb3_contrib import ARS, QRDQN, TQC, TRPO, CrossQ, MaskablePPO
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise

from velora_sb3._validation import suggestion
from velora_sb3.algorithms import (
    RecurrentDDPG,
    RecurrentDQN,
    RecurrentMaskablePPO,
    RecurrentPPO,
    RecurrentQRDQN,
    RecurrentSAC,
    RecurrentTD3,
    RecurrentTQC,
)

MODELS: dict[str, type[BaseAlgorithm]] = {
    "a2c": A2C,
    "ars": ARS,
    "crossq": CrossQ,
    "ddpg": DDPG,
    "dqn": DQN,
    "maskable_ppo": MaskablePPO,
    "ppo": PPO,
    "qrdqn": QRDQN,
    "recurrent_ddpg": RecurrentDDPG,
    "recurrent_dqn": RecurrentDQN,
    "recurrent_maskable_ppo": RecurrentMaskablePPO,
    "recurrent_ppo": RecurrentPPO,
    "recurrent_qrdqn": RecurrentQRDQN,
    "recurrent_sac": RecurrentSAC,
    "recurrent_td3": RecurrentTD3,
    "recurrent_tqc": RecurrentTQC,
    "sac": SAC,
    "td3": TD3,
    "tqc": TQC,
    "trpo": TRPO,
}

NOISES: dict[str, type[NormalActionNoise | OrnsteinUhlenbeckActionNoise]] = {
    "normal": NormalActionNoise,
    "ornstein_uhlenbeck": OrnsteinUhlenbeckActionNoise,
}


def find_model(name: str) -> type[BaseAlgorithm]:
    """The algorithm of that name; raises ``ValueError`` if there is none."""
    if name in MODELS:
        return MODELS[name]
    raise ValueError(f"unknown model_name {name!r}: {suggestion(str(name), MODELS)}expected one of {', '.join(MODELS)}")
