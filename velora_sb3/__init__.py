"""Liquid neural networks with real memory, and callbacks, for Stable-Baselines3.

Importing the package makes ``"LiquidPolicy"`` known to every algorithm of SB3 and sb3-contrib, and registers the
environments of :mod:`velora_sb3.envs` with gymnasium.
"""

from velora_sb3 import algorithms, checkpoints, memory, policies
from velora_sb3.algorithms import (
    RecurrentDDPG,
    RecurrentDQN,
    RecurrentMaskablePPO,
    RecurrentQRDQN,
    RecurrentSAC,
    RecurrentTD3,
    RecurrentTQC,
)
from velora_sb3.checkpoints import load_checkpoint, resume_training, save_checkpoint
from velora_sb3.envs import register_envs
from velora_sb3.memory import SequenceReplayBuffer, StatefulPredictor
from velora_sb3.policies import LiquidTD3Policy, register

LiquidPolicy = LiquidTD3Policy

register()
register_envs()
checkpoints.register(algorithms, policies, memory, memory.encoder, plain=[algorithms.collection_state.CollectionState])

__version__ = "0.2.0"

__all__ = [
    "LiquidPolicy",
    "RecurrentDDPG",
    "RecurrentDQN",
    "RecurrentMaskablePPO",
    "RecurrentQRDQN",
    "RecurrentSAC",
    "RecurrentTD3",
    "RecurrentTQC",
    "SequenceReplayBuffer",
    "StatefulPredictor",
    "__version__",
    "load_checkpoint",
    "register",
    "resume_training",
    "save_checkpoint",
]
