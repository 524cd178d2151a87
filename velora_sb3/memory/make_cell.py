"""A liquid cell from a policy's plain keyword arguments."""

from __future__ import annotations

from ncps.wirings import FullyConnected, Wiring

from velora_sb3._validation import check_choice, check_integer
from velora_sb3.cells import CfCCell, LiquidCell, LTCCell, MixedMemoryCell, WiredCfCCell, make_wiring
from velora_sb3.cells.cfc_cell import INITIALIZATIONS

CELLS = ("cfc", "ltc")


def make_cell(
    input_size: int,
    cell: str = "cfc",
    units: int = 64,
    wiring: str | Wiring | None = None,
    sparsity_level: float = 0.5,
    wiring_seed: int | None = None,
    mode: str = "default",
    mixed_memory: bool = False,
    backbone_units: int | None = None,
    backbone_layers: int | None = None,
    ode_unfolds: int = 6,
    initialization: str = "ncps",
) -> LiquidCell:
    """Build a cell.

    Args:
        input_size: Number of features of one input.
        cell: ``cfc`` or ``ltc``.
        units: Number of units; not used when a live wiring is given.
        wiring: None (dense), ``ncp``, ``fully_connected``, ``random``, or a live wiring (copied).
        sparsity_level: Share of synapses that a wiring by name leaves out.
        wiring_seed: Seed of a wiring by name; None for ncps's own.
        mode: CfC's mode: ``default``, ``no_gate`` or ``pure``.
        mixed_memory: Put an LSTM memory cell before the cell.
        backbone_units: Width of a dense CfC's backbone; None for 128 if there is a backbone.
        backbone_layers: Layers of a dense CfC's backbone; None for 1 if ``backbone_units`` is given, else none.
        ode_unfolds: Solver steps that an LTC takes for each time step.
        initialization: Of a CfC's weights: ``ncps`` or ``orthogonal``. An LTC has its own.

    Returns:
        The cell.

    Raises:
        ValueError: If a value is unknown or out of range, or does not go with the others.
        TypeError: If the wiring is of no known kind.
    """
    check_choice("cell", cell, CELLS)
    check_integer("units", units)
    check_integer("ode_unfolds", ode_unfolds)
    if not isinstance(mixed_memory, bool):
        raise ValueError(f"mixed_memory must be True or False, got {mixed_memory!r}")
    if isinstance(sparsity_level, bool) or not isinstance(sparsity_level, int | float):
        raise ValueError(f"sparsity_level must be a number, got {sparsity_level!r}")
    for name, value, least in (
        ("wiring_seed", wiring_seed, 0),
        ("backbone_units", backbone_units, 1),
        ("backbone_layers", backbone_layers, 0),
    ):
        if value is not None:
            check_integer(name, value, least=least)
    network: LiquidCell
    if (cell == "ltc" or wiring is not None) and (backbone_units or backbone_layers):
        raise ValueError("backbone_units and backbone_layers are for cell='cfc' with wiring=None: leave them out")
    if cell == "ltc":
        if mode != "default":
            raise ValueError(f"mode={mode!r} is for cell='cfc': an LTC has no modes, leave it out")
        synapses = FullyConnected(units) if wiring is None else make_wiring(wiring, units, sparsity_level, wiring_seed)
        network = LTCCell(synapses, input_size, ode_unfolds=ode_unfolds)
    elif wiring is None:
        layers = (1 if backbone_units else 0) if backbone_layers is None else backbone_layers
        network = CfCCell(input_size, units, mode, backbone_units=backbone_units or 128, backbone_layers=layers)
    else:
        network = WiredCfCCell(input_size, make_wiring(wiring, units, sparsity_level, wiring_seed), mode)
    check_choice("initialization", initialization, INITIALIZATIONS)
    if initialization != "ncps":  # what the cells do by themselves
        for module in network.modules():
            if isinstance(module, CfCCell):
                module.reset_parameters(initialization)
    return MixedMemoryCell(network) if mixed_memory else network
