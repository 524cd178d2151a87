"""LRC over sequences."""

from __future__ import annotations

from ncps.wirings import Wiring

from velora_sb3.cells.cell import LiquidCell
from velora_sb3.cells.lrc_cell import LRCCell
from velora_sb3.cells.sequence_module import SequenceModule
from velora_sb3.cells.wired_cells import WiredLRCCell


class LRC(SequenceModule):
    """A liquid-resistance liquid-capacitance network over sequences; see :class:`velora_sb3.cells.LRCCell`.

    Args:
        input_size: Number of features.
        units: Number of units, or an ncps wiring (copied).
        proj_size: Width of a linear layer on the outputs; None for none.
        return_sequences: Whether to return the output of every step or only of the last one.
        batch_first: Inputs are ``(B, T, F)``, or ``(T, B, F)`` if False.
        mixed_memory: Whether to put an LSTM memory cell before the cell.
        solver: ``closed_form``, or ``euler`` for the paper's equation and its explicit Euler scheme.

    Raises:
        ValueError: If an argument is out of range or unknown.

    References:
        Farsang, Neubauer and Grosu (2024), https://arxiv.org/abs/2403.08791.
    """

    def __init__(
        self,
        input_size: int,
        units: int | Wiring,
        proj_size: int | None = None,
        return_sequences: bool = True,
        batch_first: bool = True,
        mixed_memory: bool = False,
        solver: str = "closed_form",
    ) -> None:
        make: type[LiquidCell] = WiredLRCCell if isinstance(units, Wiring) else LRCCell
        super().__init__(
            make(input_size, units, solver),
            return_sequences=return_sequences,
            batch_first=batch_first,
            mixed_memory=mixed_memory,
            proj_size=proj_size,
        )
