"""Liquid cells: one time step, its unroll over time, and whole-sequence kernels. Knows torch and ncps only."""

from velora_sb3.cells.cell import LiquidCell
from velora_sb3.cells.cfc import CfC
from velora_sb3.cells.cfc_cell import CfCCell
from velora_sb3.cells.lrc import LRC
from velora_sb3.cells.lrc_cell import LRCCell
from velora_sb3.cells.ltc import LTC
from velora_sb3.cells.ltc_cell import LTCCell
from velora_sb3.cells.mixed_memory import MixedMemoryCell
from velora_sb3.cells.time_constants import time_constants
from velora_sb3.cells.torch_cells import GRUCell, LSTMCell
from velora_sb3.cells.unroll import unroll, unroll_states
from velora_sb3.cells.wired_cells import WiredCfCCell, WiredLRCCell
from velora_sb3.cells.wiring import make_wiring

__all__ = [
    "LRC",
    "LTC",
    "CfC",
    "CfCCell",
    "GRUCell",
    "LRCCell",
    "LSTMCell",
    "LTCCell",
    "LiquidCell",
    "MixedMemoryCell",
    "WiredCfCCell",
    "WiredLRCCell",
    "make_wiring",
    "time_constants",
    "unroll",
    "unroll_states",
]
