"""The cells in C: for each class one emitter. A cell that is not in the table cannot be written in C."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from velora_sb3.cells import (
    CfCCell,
    GRUCell,
    LRCCell,
    LSTMCell,
    LTCCell,
    MixedMemoryCell,
    WiredCfCCell,
    WiredLRCCell,
)
from velora_sb3.export.c.layers import add_product, emit_layers, emit_linear, unknown
from velora_sb3.export.c.program import Program, literal
from velora_sb3.export.step import LSTMStep

# program, cell, name of its inputs, of its state (written in place), whether that is zero, the timespan if it has one;
# returns the name of its outputs.
Emitter = Callable[[Program, Any, str, str, bool, "str | None"], str]


def emit_cell(
    program: Program, cell: Any, inputs: str, state: str, from_zero: bool = False, timespan: str | None = None
) -> str:
    """Emit one step of a cell.

    Args:
        program: The program.
        cell: The cell.
        inputs: Name of its inputs.
        state: Name of its state, which becomes the next one.
        from_zero: Whether the state is zero: a step without recurrent products.
        timespan: Name of the timespan; None for 1.

    Returns:
        Name of its outputs.

    Raises:
        ValueError: If C knows no such cell.
    """
    if type(cell) not in EMITTERS:
        raise unknown(cell)
    return EMITTERS[type(cell)](program, cell, inputs, state, from_zero, timespan)


def _cfc(program: Program, cell: Any, inputs: str, state: str, from_zero: bool, timespan: str | None) -> str:
    masks: list[torch.Tensor | None] = [None, None]
    if cell.mask is not None:
        masks = list(cell.mask.split([cell.input_size, cell.hidden_size], dim=1))
    slope = timespan is not None and cell.has_slope
    bias = torch.cat([cell.bias, cell.slope_bias]) if slope else cell.bias
    width = len(bias)
    products = program.buffer("products", width)
    program.call("copy", width, program.floats("bias", bias), products)
    sides = [("ih", inputs, masks[0]), ("hh", state, masks[1])]
    for side, source, mask in sides[: 1 if from_zero else 2]:
        weight = getattr(cell, f"weight_{side}")
        if mask is None or side == "hh":  # within a layer all neurons are connected
            joined = torch.cat([weight, getattr(cell, f"slope_{side}")]) if slope else weight
            add_product(program, joined, None, source, products)
            continue
        masked = cell.hidden_size if cell.mode == "pure" else 2 * cell.hidden_size  # the gate is dense
        add_product(program, weight[:masked], mask[:masked], source, products)
        dense = [weight[masked:]] + ([cell.slope_ih] if slope else [])
        if len(joined := torch.cat(dense)):
            add_product(program, joined, None, source, f"{products} + {masked}")
    if cell.backbone is not None:
        *hidden, last = cell.backbone
        source, width = emit_layers(program, torch.nn.Sequential(*hidden), products, width)
        slope = timespan is not None and cell.mode != "pure"
        rows = cell.hidden_size * (1 if cell.mode == "pure" else 4 if slope else 3)
        products = emit_linear(program, last.weight[:rows], last.bias[:rows], source)
    if cell.mode == "pure":
        constants = program.floats("w_tau", cell.w_tau), program.floats("amplitude", cell.amplitude)
        program.call("cfc_pure", cell.hidden_size, products, timespan or "1.0f", *constants, state)
    else:
        gate = int(cell.mode == "default")
        program.call("cfc", cell.hidden_size, products, int(slope), timespan or "1.0f", gate, state)
    return state


def _wired(program: Program, cell: Any, inputs: str, state: str, from_zero: bool, timespan: str | None) -> str:
    first = 0
    for layer, size in zip(cell.layers, cell.layer_sizes, strict=True):
        inputs = emit_cell(program, layer, inputs, f"{state} + {first}", from_zero, timespan)
        first += size
    return inputs


def _lrc(program: Program, cell: LRCCell, inputs: str, state: str, from_zero: bool, timespan: str | None) -> str:
    mask = None if cell.mask is None else cell.mask[:, : cell.input_size].repeat(3, 1)
    products = program.buffer("products", 3 * cell.hidden_size)
    program.call("copy", 3 * cell.hidden_size, program.floats("bias", cell.bias), products)
    add_product(program, cell.weight_ih, mask, inputs, products)
    if not from_zero:  # within a layer all neurons are connected
        add_product(program, cell.weight_hh, None, state, products)
    arguments = [cell.hidden_size, products, timespan or "1.0f"]
    if cell.reversal is None:
        program.call("lrc", *arguments, state)
    else:
        program.call("lrc_euler", *arguments, program.floats("reversal", cell.reversal), state)
    return state


def _gru(program: Program, cell: Any, inputs: str, state: str, from_zero: bool, timespan: str | None) -> str:
    weight_ih, weight_hh, bias_ih, bias_hh = cell.weights
    by_inputs = emit_linear(program, weight_ih, bias_ih, _with_time(program, cell, inputs, timespan))
    by_state = emit_linear(program, weight_hh, bias_hh, state)
    program.call("gru", cell.hidden_size, by_inputs, by_state, state)
    return state


def _lstm_cell(program: Program, cell: Any, inputs: str, state: str, from_zero: bool, timespan: str | None) -> str:
    weight_ih, weight_hh, bias_ih, bias_hh = cell.weights
    products = emit_linear(program, weight_ih, bias_ih + bias_hh, _with_time(program, cell, inputs, timespan))
    if not from_zero:
        add_product(program, weight_hh, None, state, products)
    program.call("lstm", cell.hidden_size, products, "0.0f", state, f"{state} + {cell.hidden_size}")
    return state


def _with_time(program: Program, cell: Any, inputs: str, timespan: str | None) -> str:
    """The inputs of an LSTM or a GRU, which may take the timespan as the last of them."""
    if not cell.timed:
        return inputs
    joined = program.buffer("with_time", cell.input_size + 1)
    program.call("copy", cell.input_size, inputs, joined)
    program.line(f"{joined}[{cell.input_size}] = {timespan or '1.0f'};")
    return joined


def _ltc(program: Program, cell: LTCCell, inputs: str, state: str, from_zero: bool, timespan: str | None) -> str:
    units, unfolds = cell.state_size, cell.ode_unfolds
    conductance = functional.softplus(cell.w)
    parameters = torch.stack([conductance * cell.erev, conductance, cell.sigma, cell.mu], dim=1)
    count = cell.recurrent.count
    recurrent = _synapses(program, parameters[:count], cell.wiring.adjacency_matrix)
    sensory = _synapses(program, parameters[count:], cell.wiring.sensory_adjacency_matrix)
    leak = functional.softplus(cell.gleak)
    resting = program.floats("leak_pull", leak * cell.vleak), program.floats("leak", leak + cell.epsilon)
    capacity = program.floats("capacity", functional.softplus(cell.cm))
    base, opened = (
        (program.buffer(f"{name}_pull", units), program.buffer(f"{name}_conductance", units))
        for name in ("base", "total")
    )
    inputs = _mapped(program, cell, "input", inputs, cell.input_size)
    for constant, target in zip(resting, base, strict=True):
        program.call("copy", units, constant, target)
    program.call("add_synapses", units, *sensory, inputs, *base)
    dt = program.buffer("dt", 1)
    program.line(f"{dt}[0] = {timespan or '1.0f'} / {literal(float(unfolds))};")
    program.line(f"for (int unfold = 0; unfold < {unfolds}; unfold++) {{")
    for source, target in zip(base, opened, strict=True):
        program.call("copy", units, source, target)
    program.call("add_synapses", units, *recurrent, state, *opened)
    program.call("ltc_unfold", units, f"{dt}[0]", capacity, *opened, state)
    program.line("}")
    return _mapped(program, cell, "output", state, cell.output_size)


def _synapses(program: Program, parameters: torch.Tensor, adjacency: np.ndarray[Any, Any]) -> tuple[str, str, str]:
    """Synapses by the unit that they enter; ``parameters`` has them by their source."""
    sources, targets = np.nonzero(adjacency)
    order = np.argsort(targets, kind="stable")
    starts = np.searchsorted(targets[order], np.arange(adjacency.shape[1] + 1))
    return (
        program.indices("starts", starts),
        program.indices("sources", sources[order]),
        program.floats("synapses", parameters[torch.as_tensor(order)]),
    )


def _mapped(program: Program, cell: LTCCell, side: str, source: str, size: int) -> str:
    factor, shift = (getattr(cell, f"{side}_{name}") for name in "wb")
    if factor is None:
        return source
    shift = torch.zeros(size) if shift is None else shift
    target = program.buffer(f"{side}s", size)
    program.call("scale", size, program.floats("factor", factor), program.floats("shift", shift), source, target)
    return target


def _mixed_memory(
    program: Program, cell: MixedMemoryCell, inputs: str, state: str, from_zero: bool, timespan: str | None
) -> str:
    hidden = cell.cell.state_size
    a, i, f, o = range(4)  # the order of its parts; C has torch's
    order = torch.cat([torch.arange(hidden) + part * hidden for part in (i, f, a, o)])
    seen = _with_time(program, cell, inputs, timespan)
    products = emit_linear(program, cell.weight_ih[order], cell.bias[order], seen)
    if not from_zero:
        add_product(program, cell.weight_hh[order], None, state, products)
    program.call("lstm", hidden, products, "1.0f", state, f"{state} + {hidden}")
    return emit_cell(program, cell.cell, inputs, state, False, timespan)


def _lstm(program: Program, cell: LSTMStep, inputs: str, state: str, from_zero: bool, timespan: str | None) -> str:
    for layer in range(cell.layers):
        ih, hh, bias = cell.weights(layer)
        hidden = f"{state} + {layer * cell.hidden}"
        products = emit_linear(program, ih, bias, inputs)
        add_product(program, hh, None, hidden, products)
        program.call("lstm", cell.hidden, products, "0.0f", hidden, f"{state} + {(cell.layers + layer) * cell.hidden}")
        inputs = hidden
    return inputs


EMITTERS: dict[type, Emitter] = {
    CfCCell: _cfc,
    WiredCfCCell: _wired,
    LRCCell: _lrc,
    WiredLRCCell: _wired,
    LTCCell: _ltc,
    MixedMemoryCell: _mixed_memory,
    GRUCell: _gru,
    LSTMCell: _lstm_cell,
    LSTMStep: _lstm,
}
