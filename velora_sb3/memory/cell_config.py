"""The settings of a liquid cell, and the cell that they describe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ncps.wirings import FullyConnected, Wiring

from velora_sb3._validation import check_bool, check_choice, check_integer, check_number
from velora_sb3.cells import CfCCell, LiquidCell, LTCCell, MixedMemoryCell, WiredCfCCell, make_wiring
from velora_sb3.cells.cfc_cell import INITIALIZATIONS
from velora_sb3.cells.kernels.cfc_gates import MODES

CELLS = ("cfc", "ltc")


@dataclass(frozen=True, kw_only=True)
class CellConfig:
    """A liquid cell in plain values, as ``policy_kwargs`` hold them.

    Attributes:
        cell: ``cfc`` or ``ltc``.
        units: Number of units; ignored with a live wiring.
        wiring: None (dense), ``ncp``, ``fully_connected``, ``random``, or a live ``ncps.wirings.Wiring`` (copied).
        sparsity_level: Share of synapses that a wiring by name leaves out.
        wiring_seed: Seed of a wiring by name; None for ncps's own.
        mode: CfC only: ``default``, ``no_gate`` or ``pure``.
        mixed_memory: Put an LSTM memory cell before the cell.
        backbone_units: Dense CfC only: width of the backbone; None for 128 if there is a backbone.
        backbone_layers: Dense CfC only: layers of the backbone; None for 1 if ``backbone_units`` is given, else none.
        ode_unfolds: LTC only: solver steps in one time step.
        initialization: CfC only: ``ncps`` or ``orthogonal``; None for ``orthogonal`` where the cell takes more
            than one step (histories, recurrent algorithms), else ``ncps``.

    Raises:
        ValueError: If a value is unknown or out of range, or conflicts with another one.
    """

    cell: str = "cfc"
    units: int = 64
    wiring: str | Wiring | None = None
    sparsity_level: float = 0.5
    wiring_seed: int | None = None
    mode: str = "default"
    mixed_memory: bool = False
    backbone_units: int | None = None
    backbone_layers: int | None = None
    ode_unfolds: int = 6
    initialization: str | None = None

    def __post_init__(self) -> None:
        """Check every value, and those that depend on each other."""
        check_choice("cell", self.cell, CELLS)
        check_integer("units", self.units)
        check_number("sparsity_level", self.sparsity_level)
        check_choice("mode", self.mode, MODES)
        check_bool("mixed_memory", self.mixed_memory)
        check_integer("ode_unfolds", self.ode_unfolds)
        check_choice("initialization", self.initialization, (None, *INITIALIZATIONS))
        for name, least in (("wiring_seed", 0), ("backbone_units", 1), ("backbone_layers", 0)):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name), least=least)
        if (self.cell == "ltc" or self.wiring is not None) and (self.backbone_units or self.backbone_layers):
            raise ValueError("backbone_units and backbone_layers need cell='cfc' and wiring=None: leave them out")
        if self.cell == "ltc" and self.mode != "default":
            raise ValueError(f"mode={self.mode!r} needs cell='cfc': an LTC has no modes, leave it out")

    def build(self, input_size: int) -> LiquidCell:
        """Make the cell.

        Args:
            input_size: Number of features of one input.

        Returns:
            The cell, with fresh weights.

        Raises:
            ValueError: If the wiring cannot be made of so many units.
            TypeError: If the wiring is neither a name nor an ncps wiring.
        """
        network: LiquidCell
        if self.cell == "ltc":
            network = LTCCell(self._make_wiring(), input_size, ode_unfolds=self.ode_unfolds)
        elif self.wiring is not None:
            network = WiredCfCCell(input_size, self._make_wiring(), self.mode)
        else:
            layers = self.backbone_layers
            if layers is None:
                layers = 1 if self.backbone_units else 0
            width = self.backbone_units or 128
            network = CfCCell(input_size, self.units, self.mode, backbone_units=width, backbone_layers=layers)
        if self.initialization == "orthogonal":
            for module in network.modules():
                if isinstance(module, CfCCell):
                    module.reset_parameters(self.initialization)
        return MixedMemoryCell(network) if self.mixed_memory else network

    def _make_wiring(self) -> Wiring:
        if self.wiring is None:
            return FullyConnected(self.units)
        return make_wiring(self.wiring, self.units, self.sparsity_level, self.wiring_seed)


def make_cell(input_size: int, cell: str = "cfc", **settings: Any) -> LiquidCell:
    """Make a cell from a policy's settings.

    Args:
        input_size: Number of features of one input.
        cell: ``cfc`` or ``ltc``.
        **settings: The other fields of :class:`CellConfig`.

    Returns:
        The cell.

    Raises:
        ValueError: If a value is unknown or out of range, or conflicts with another one.
        TypeError: If a setting is unknown, or the wiring neither a name nor an ncps wiring.
    """
    return CellConfig(cell=cell, **settings).build(input_size)
