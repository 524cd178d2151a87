"""Cells over time inside SB3."""

from velora_sb3.memory.extractor import LiquidExtractor
from velora_sb3.memory.make_cell import make_cell

__all__ = ["LiquidExtractor", "make_cell"]
