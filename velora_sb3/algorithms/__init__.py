"""Recurrent algorithms: SB3's and sb3-contrib's, with a memory in collection and in learning."""

from velora_sb3.algorithms.ddpg import RecurrentDDPG
from velora_sb3.algorithms.dqn import RecurrentDQN
from velora_sb3.algorithms.qrdqn import RecurrentQRDQN
from velora_sb3.algorithms.recurrent_maskable_ppo import RecurrentMaskablePPO
from velora_sb3.algorithms.recurrent_ppo import RecurrentPPO
from velora_sb3.algorithms.sac import RecurrentSAC
from velora_sb3.algorithms.td3 import RecurrentTD3
from velora_sb3.algorithms.tqc import RecurrentTQC

__all__ = [
    "RecurrentDDPG",
    "RecurrentDQN",
    "RecurrentMaskablePPO",
    "RecurrentPPO",
    "RecurrentQRDQN",
    "RecurrentSAC",
    "RecurrentTD3",
    "RecurrentTQC",
]
