"""Liquid neural networks with real memory, and callbacks, for Stable-Baselines3.

Importing the package makes ``"LiquidPolicy"`` known to every algorithm of SB3 and sb3-contrib, and registers the
environments of :mod:`velora_sb3.envs` with gymnasium.
"""

import sys
from itertools import takewhile
from pathlib import Path

__version__ = "0.2.0"


def _only_explains() -> bool:
    """Whether this process is our own command with --help or --version, which need no torch: it takes seconds."""
    words, started = sys.argv[1:], sys.orig_argv
    as_module = sys.argv[:1] == ["-m"] and "velora_sb3" in started[started.index("-m") + 1 :][:1]
    as_script = any(Path(program).stem == "velora-sb3" for program in sys.argv[:1])
    return (as_module or as_script) and not {"-h", "--help", "--version"}.isdisjoint(takewhile("--".__ne__, words))


if not _only_explains():
    from velora_sb3 import algorithms, cells, checkpoints, memory, policies
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
    from velora_sb3.checkpoints import load_checkpoint, resume_training, save_checkpoint
    from velora_sb3.envs import register_envs
    from velora_sb3.memory import SequenceReplayBuffer, StatefulPredictor
    from velora_sb3.policies import LiquidTD3Policy, register

    LiquidPolicy = LiquidTD3Policy

    register()
    register_envs()
    checkpoints.register(
        algorithms, cells, policies, memory, memory.encoder, plain=[algorithms.collection_state.CollectionState]
    )

__all__ = [
    "LiquidPolicy",
    "RecurrentDDPG",
    "RecurrentDQN",
    "RecurrentMaskablePPO",
    "RecurrentPPO",
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
