"""The settings of a cell, and the cell that they describe."""

from __future__ import annotations

from dataclasses import dataclass, fields
from importlib import import_module
from typing import Any

from ncps.wirings import FullyConnected, Wiring

from velora_sb3._validation import check_bool, check_choice, check_integer, check_number
from velora_sb3.cells import (
    CfCCell,
    GRUCell,
    LiquidCell,
    LRCCell,
    LSTMCell,
    LTCCell,
    MixedMemoryCell,
    WiredCfCCell,
    WiredLRCCell,
    make_wiring,
)
from velora_sb3.cells.initialization import INITIALIZATIONS
from velora_sb3.cells.kernels.cfc_gates import MODES
from velora_sb3.cells.lrc_cell import SOLVERS

CELLS = ("cfc", "lrc", "ltc", "gru", "lstm")
LIQUID_CELLS = ("cfc", "lrc", "ltc")

# The settings that not every cell has, and the cells that have them; None stands for a cell of the user's own.
WHOSE: dict[str, tuple[str | None, ...]] = {
    "wiring": LIQUID_CELLS,
    "mode": ("cfc",),
    "solver": ("lrc",),
    "mixed_memory": (*LIQUID_CELLS, None),
    "backbone_units": ("cfc",),
    "backbone_layers": ("cfc",),
    "ode_unfolds": ("ltc",),
    "initialization": ("cfc", "lrc"),
    "cell_kwargs": (None,),
}


@dataclass(frozen=True, kw_only=True)
class CellConfig:
    """A cell in plain values, as ``policy_kwargs`` hold them.

    Attributes:
        cell: ``cfc``, ``lrc``, ``ltc``, ``gru`` or ``lstm``; or a cell of your own: a subclass of
            :class:`velora_sb3.cells.LiquidCell`, or its name as ``package.module:Class``. It is created with the number
            of features of an input, the number of units and ``cell_kwargs``.
        units: Number of units; ignored with a live wiring.
        wiring: CfC, LRC and LTC: None (dense), ``ncp``, ``fully_connected``, ``random``, or a live
            ``ncps.wirings.Wiring`` (copied).
        sparsity_level: Share of synapses that a wiring by name leaves out.
        wiring_seed: Seed of a wiring by name; None for ncps's own.
        mode: CfC only: ``default``, ``no_gate`` or ``pure``.
        solver: LRC only: ``closed_form`` or ``euler``.
        mixed_memory: Put an LSTM memory cell before a liquid cell.
        backbone_units: Dense CfC only: width of the backbone; None for 128 if there is a backbone.
        backbone_layers: Dense CfC only: layers of the backbone; None for 1 if ``backbone_units`` is given, else none.
        ode_unfolds: LTC only: solver steps in one time step.
        initialization: CfC and LRC: ``ncps``, ``orthogonal`` or ``orthogonal_inputs``. None is ``ncps``, but policies
            replace it: by ``orthogonal`` for a cell that takes more than one step (histories, recurrent algorithms
            off policy), by ``orthogonal_inputs`` in a reactive policy of PPO, A2C, MaskablePPO or TRPO.
        cell_kwargs: Further arguments of a cell of your own.

    Raises:
        ValueError: If a value is unknown or out of range, or conflicts with another one.
        TypeError: If ``cell`` is a class, but not a ``LiquidCell``.
    """

    cell: str | type[LiquidCell] = "cfc"
    units: int = 64
    wiring: str | Wiring | None = None
    sparsity_level: float = 0.5
    wiring_seed: int | None = None
    mode: str = "default"
    solver: str = "closed_form"
    mixed_memory: bool = False
    backbone_units: int | None = None
    backbone_layers: int | None = None
    ode_unfolds: int = 6
    initialization: str | None = None
    cell_kwargs: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        """Check every value, and those that depend on each other."""
        own = isinstance(self.cell, type) or (isinstance(self.cell, str) and ":" in self.cell)
        if own:
            find_cell_class(self.cell)
        else:
            check_choice("cell", self.cell, (*CELLS, "package.module:Class"))
        check_integer("units", self.units)
        check_number("sparsity_level", self.sparsity_level)
        check_choice("mode", self.mode, MODES)
        check_choice("solver", self.solver, SOLVERS)
        check_bool("mixed_memory", self.mixed_memory)
        check_integer("ode_unfolds", self.ode_unfolds)
        check_choice("initialization", self.initialization, (None, *INITIALIZATIONS))
        for name, least in (("wiring_seed", 0), ("backbone_units", 1), ("backbone_layers", 0)):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name), least=least)
        if self.wiring is not None and (self.backbone_units or self.backbone_layers):
            raise ValueError("backbone_units and backbone_layers need cell='cfc' and wiring=None: leave them out")
        defaults = {field.name: field.default for field in fields(CellConfig)}
        for name in ("sparsity_level", "wiring_seed"):
            value = getattr(self, name)
            if not isinstance(self.wiring, str) and value != defaults[name]:
                raise ValueError(f"{name}={value!r} needs a wiring by name, such as wiring='ncp': leave it out")
        for name, cells in WHOSE.items():
            value = getattr(self, name)
            if (None if own else self.cell) not in cells and value and value != defaults[name]:
                names = " or ".join("a cell of your own" if cell is None else f"cell={cell!r}" for cell in cells)
                raise ValueError(f"{name}={value!r} needs {names}: leave it out with cell={self.cell!r}")

    @property
    def is_plain_cfc(self) -> bool:
        """Whether the cell is a CfC without wiring, backbone or ``pure`` mode: what mixed memory has a kernel for."""
        layers = bool(self.backbone_units) if self.backbone_layers is None else self.backbone_layers > 0
        return self.cell == "cfc" and self.wiring is None and self.mode != "pure" and not layers

    def build(self, input_size: int, timed: bool = False) -> LiquidCell:
        """Make the cell.

        Args:
            input_size: Number of features of one input.
            timed: Whether there are timespans: a GRU, an LSTM or mixed memory takes them as one more input.

        Returns:
            The cell, with fresh weights.

        Raises:
            ValueError: If the wiring cannot be made of so many units.
            TypeError: If the wiring is neither a name nor an ncps wiring.
        """
        network: LiquidCell
        match self.cell:
            case "gru" | "lstm":
                return {"gru": GRUCell, "lstm": LSTMCell}[self.cell](input_size, self.units, timed)
            case "ltc":
                network = LTCCell(self._make_wiring(), input_size, ode_unfolds=self.ode_unfolds)
            case "lrc" if self.wiring is None:
                network = LRCCell(input_size, self.units, self.solver)
            case "lrc":
                network = WiredLRCCell(input_size, self._make_wiring(), self.solver)
            case "cfc" if self.wiring is None:
                layers = self.backbone_layers
                if layers is None:
                    layers = 1 if self.backbone_units else 0
                width = self.backbone_units or 128
                network = CfCCell(input_size, self.units, self.mode, backbone_units=width, backbone_layers=layers)
            case "cfc":
                network = WiredCfCCell(input_size, self._make_wiring(), self.mode)
            case own:
                network = find_cell_class(own)(input_size, self.units, **(self.cell_kwargs or {}))
                check_widths(network)
        if self.initialization is not None:
            for module in network.modules():
                if isinstance(module, CfCCell | LRCCell):
                    module.reset_parameters(self.initialization)
        return MixedMemoryCell(network, timed) if self.mixed_memory else network

    def _make_wiring(self) -> Wiring:
        if self.wiring is None:
            return FullyConnected(self.units)
        return make_wiring(self.wiring, self.units, self.sparsity_level, self.wiring_seed)


def find_cell_class(cell: str | type) -> Any:
    """A user's cell class, or that of a name ``package.module:Class``.

    Raises:
        ValueError: If there is no such class.
        TypeError: If it is not a :class:`velora_sb3.cells.LiquidCell`.
    """
    found: Any = cell
    if isinstance(cell, str):
        module, _, name = cell.partition(":")
        try:
            found = getattr(import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError(f"cell={cell!r} cannot be imported ({error}): it must be package.module:Class") from error
    if not isinstance(found, type) or not issubclass(found, LiquidCell):
        raise TypeError(f"cell must be a subclass of velora_sb3.cells.LiquidCell, got {cell!r}")
    return found


def check_widths(cell: LiquidCell) -> None:
    """Raise ``TypeError`` if a user's cell lacks one of its widths."""
    missing = [name for name in ("input_size", "state_size", "output_size") if not hasattr(cell, name)]
    if missing:
        raise TypeError(f"{type(cell).__name__} has no {', '.join(missing)}: set them in its constructor")


def make_cell(input_size: int, cell: str | type[LiquidCell] = "cfc", **settings: Any) -> LiquidCell:
    """Make a cell from a policy's settings.

    Args:
        input_size: Number of features of one input.
        cell: ``cfc``, ``lrc``, ``ltc``, ``gru``, ``lstm``, or a class of your own.
        **settings: The other fields of :class:`CellConfig`.

    Returns:
        The cell.

    Raises:
        ValueError: If a value is unknown or out of range, or conflicts with another one.
        TypeError: If a setting is unknown, or the wiring neither a name nor an ncps wiring.
    """
    return CellConfig(cell=cell, **settings).build(input_size)
