"""Cells over time inside SB3."""

from velora_sb3.memory.cell_config import CellConfig, make_cell
from velora_sb3.memory.extractor import ExtractorConfig, LiquidExtractor
from velora_sb3.memory.inputs import SequenceBatch, StepInput
from velora_sb3.memory.masked_rollout import RecurrentMaskableDictRolloutBuffer, RecurrentMaskableRolloutBuffer
from velora_sb3.memory.predictor import StatefulPredictor
from velora_sb3.memory.replay import SequenceDictReplayBuffer, SequenceReplayBuffer

__all__ = [
    "CellConfig",
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
