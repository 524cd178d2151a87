"""Cells over time inside SB3: the path of an observation to the loss.

1. Acting: ``frames`` separates timespans and histories, ``encoder`` turns a frame into features, ``extractor`` takes
   one step of the cell from the state in a ``StepInput``; SB3's heads choose the action.
2. Storing: ``replay`` keeps what SB3's replay buffer keeps, and the states on request.
3. Learning: ``replay`` samples windows as a ``SequenceBatch``, ``extractor`` unrolls the cell over them and returns one
   row of features for each training step, and SB3's own ``train()`` computes the loss from them.

``velora_sb3.algorithms.recurrent_off_policy`` drives 1 and 2; ``velora_sb3.policies.recurrent_off_policy`` passes
states and windows through SB3's networks to the extractor.
"""

from velora_sb3.memory.cell_config import CellConfig, make_cell
from velora_sb3.memory.extractor import ExtractorConfig, LiquidExtractor
from velora_sb3.memory.inputs import SequenceBatch, StepInput
from velora_sb3.memory.predictor import StatefulPredictor
from velora_sb3.memory.replay import SequenceDictReplayBuffer, SequenceReplayBuffer
from velora_sb3.memory.rollout import (
    ColumnDictRolloutBuffer,
    ColumnRolloutBuffer,
    RecurrentMaskableDictRolloutBuffer,
    RecurrentMaskableRolloutBuffer,
)

__all__ = [
    "CellConfig",
    "ColumnDictRolloutBuffer",
    "ColumnRolloutBuffer",
    "ExtractorConfig",
    "LiquidExtractor",
    "RecurrentMaskableDictRolloutBuffer",
    "RecurrentMaskableRolloutBuffer",
    "SequenceBatch",
    "SequenceDictReplayBuffer",
    "SequenceReplayBuffer",
    "StatefulPredictor",
    "StepInput",
    "make_cell",
]
