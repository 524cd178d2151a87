r"""LTC networks as Triton kernels, of the form of :mod:`velora_sb3.cells.kernels.cpu.ltc`.

One program walks through all steps and unfolds of one row of the batch, and of further rows where the batch is large.
It keeps every synapse from every unit to every unit, destinations along the rows and sources along the columns:
``WIDTH`` of both, the number of units padded to a power of two. Synapses from the inputs have kernels of their own, in
which all steps run at once. Where there is no synapse, its weights are zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl

from velora_sb3.cells.kernels import gpu
from velora_sb3.cells.kernels.gpu.gated import dense
from velora_sb3.cells.kernels.ltc_synapses import Network

PROGRAMS = 1024  # at most: each keeps gradients of all synapses
MOST_FEATURES = 64  # of a block of inputs


@triton.jit
def synapse_places(first, SOURCES: tl.constexpr, UNITS: tl.constexpr, WIDTH: tl.constexpr, COLUMNS: tl.constexpr):
    """Where one parameter of the synapses from ``COLUMNS`` sources on stands, and which of these exist."""
    unit, source = tl.arange(0, WIDTH)[:, None], first + tl.arange(0, COLUMNS)[None, :]
    return unit * SOURCES + source, (unit < UNITS) & (source < SOURCES)


@triton.jit
def load_synapses(synapses, place, mask, COUNT: tl.constexpr):
    """Conductance times reversal potential, conductance, sigma and mu, each ``(WIDTH, COLUMNS)``."""
    pulls = tl.load(synapses + place, mask=mask, other=0.0)
    conductances = tl.load(synapses + COUNT + place, mask=mask, other=0.0)
    sigma = tl.load(synapses + 2 * COUNT + place, mask=mask, other=0.0)
    return pulls, conductances, sigma, tl.load(synapses + 3 * COUNT + place, mask=mask, other=0.0)


@triton.jit
def store_synapses(synapses, place, mask, pulls, conductances, sigma, mu, COUNT: tl.constexpr):
    """Where :func:`load_synapses` would read."""
    tl.store(synapses + place, pulls, mask=mask)
    tl.store(synapses + COUNT + place, conductances, mask=mask)
    tl.store(synapses + 2 * COUNT + place, sigma, mask=mask)
    tl.store(synapses + 3 * COUNT + place, mu, mask=mask)


@triton.jit
def _sensory_forward(
    inputs,  # (T * B, F)
    leak,  # (U, 2): conductance times resting potential, and conductance
    sensory,  # (4, U, F)
    drive,  # (T * B, 2, U): pull and conductance of the leak and the inputs
    rows,
    UNITS: tl.constexpr,
    WIDTH: tl.constexpr,
    INPUTS: tl.constexpr,
    FEATURES: tl.constexpr,
):
    """Synapses from the inputs, which need no order of the steps; ``FEATURES`` inputs at a time."""
    unit = tl.arange(0, WIDTH)
    present = unit < UNITS
    for first in range(0, max(INPUTS, 1), FEATURES):  # once without inputs, for the leak
        place, exists = synapse_places(first, INPUTS, UNITS, WIDTH, FEATURES)
        pulls, conductances, sigma, mu = load_synapses(sensory, place, exists, UNITS * INPUTS)
        source = first + tl.arange(0, FEATURES)
        for row in range(tl.program_id(0), rows, tl.num_programs(0)):
            values = tl.load(inputs + row * INPUTS + source, mask=source < INPUTS, other=0.0)[None, :]
            # An infinite input times the steepness 0 of no synapse is NaN.
            gates = tl.where(conductances > 0, tl.sigmoid((values - mu) * sigma), 0.0)
            here = drive + row * (2 * UNITS) + unit
            if first == 0:
                pull = tl.load(leak + 2 * unit, mask=present, other=0.0)
                conductance = tl.load(leak + 2 * unit + 1, mask=present, other=0.0)
            else:
                pull = tl.load(here, mask=present, other=0.0)
                conductance = tl.load(here + UNITS, mask=present, other=0.0)
            tl.store(here, pull + tl.sum(pulls * gates, 1), mask=present)
            tl.store(here + UNITS, conductance + tl.sum(conductances * gates, 1), mask=present)
        tl.debug_barrier()  # the next block of inputs reads what other threads have written


@triton.jit
def _forward(
    drive,  # (T, B, 2, U)
    state,  # (B, U)
    starts,  # (T, B)
    dt,  # (T, B)
    capacity,  # (U,)
    recurrent,  # (4, U, U): conductance times reversal potential, conductance, sigma, mu
    states,  # (T, B, U): the potentials after each step
    kept,  # (T, B, M, U): those before each unfold
    steps,
    batch,
    UNITS: tl.constexpr,
    WIDTH: tl.constexpr,
    UNFOLDS: tl.constexpr,
    HAS_STARTS: tl.constexpr,
    KEEP: tl.constexpr,
):
    unit = tl.arange(0, WIDTH)
    mask = unit < UNITS
    c = tl.load(capacity + unit, mask=mask, other=1.0)
    place, exists = synapse_places(0, UNITS, UNITS, WIDTH, WIDTH)
    pulls, conductances, sigma, mu = load_synapses(recurrent, place, exists, UNITS * UNITS)
    for row in range(tl.program_id(0), batch, tl.num_programs(0)):
        v = tl.load(state + row * UNITS + unit, mask=mask, other=0.0)
        for t in range(steps):
            step = t * batch + row
            if HAS_STARTS:  # selected, as a product with 0 would keep a NaN
                v = tl.where(tl.load(starts + step) != 0, 0.0, v)
            delta = tl.load(dt + step)
            pull = tl.load(drive + step * (2 * UNITS) + unit, mask=mask, other=0.0)
            conductance = tl.load(drive + step * (2 * UNITS) + UNITS + unit, mask=mask, other=0.0)
            for unfold in range(UNFOLDS):
                if KEEP:
                    tl.store(kept + (step * UNFOLDS + unfold) * UNITS + unit, v, mask=mask)
                gates = tl.sigmoid((v[None, :] - mu) * sigma)
                a, b = pull + tl.sum(pulls * gates, 1), conductance + tl.sum(conductances * gates, 1)
                v += delta * (a - b * v) / (c + delta * b)
            tl.store(states + step * UNITS + unit, v, mask=mask)


@triton.jit
def _backward(
    grad_states,  # (T, B, U)
    drive,  # (T, B, 2, U)
    starts,  # (T, B)
    dt,  # (T, B)
    capacity,  # (U,)
    recurrent,  # (4, U, U)
    kept,  # (T, B, M, U)
    grad_drive,  # (T, B, 2, U)
    grad_state,  # (B, U)
    grad_dt,  # (T, B)
    grad_capacity,  # (programs, U)
    grad_recurrent,  # (programs, 4, U, U)
    steps,
    batch,
    UNITS: tl.constexpr,
    WIDTH: tl.constexpr,
    UNFOLDS: tl.constexpr,
    HAS_STARTS: tl.constexpr,
):
    unit = tl.arange(0, WIDTH)
    mask = unit < UNITS
    c = tl.load(capacity + unit, mask=mask, other=1.0)
    place, exists = synapse_places(0, UNITS, UNITS, WIDTH, WIDTH)
    pulls, conductances, sigma, mu = load_synapses(recurrent, place, exists, UNITS * UNITS)
    by_c = tl.zeros((WIDTH,), tl.float32)
    by_pulls, by_conductances = tl.zeros_like(pulls), tl.zeros_like(pulls)
    by_sigma, by_mu = tl.zeros_like(pulls), tl.zeros_like(pulls)
    for row in range(tl.program_id(0), batch, tl.num_programs(0)):
        grad = tl.zeros((WIDTH,), tl.float32)
        for i in range(steps):
            step = (steps - 1 - i) * batch + row
            grad += tl.load(grad_states + step * UNITS + unit, mask=mask, other=0.0)
            delta = tl.load(dt + step)
            pull = tl.load(drive + step * (2 * UNITS) + unit, mask=mask, other=0.0)
            conductance = tl.load(drive + step * (2 * UNITS) + UNITS + unit, mask=mask, other=0.0)
            by_pull, by_conductance = tl.zeros((WIDTH,), tl.float32), tl.zeros((WIDTH,), tl.float32)
            by_dt = tl.zeros((WIDTH,), tl.float32)
            for back in range(UNFOLDS):
                unfold = UNFOLDS - 1 - back
                v = tl.load(kept + (step * UNFOLDS + unfold) * UNITS + unit, mask=mask, other=0.0)
                centred = v[None, :] - mu
                gates = tl.sigmoid(centred * sigma)
                a, b = pull + tl.sum(pulls * gates, 1), conductance + tl.sum(conductances * gates, 1)
                scale = c + delta * b
                rate = (a - b * v) / scale
                share = grad / scale
                of_a = share * delta
                of_b = -of_a * (v + delta * rate)
                by_c -= of_a * rate
                by_dt += share * rate * c
                by_pull += of_a
                by_conductance += of_b
                by_pulls += of_a[:, None] * gates
                by_conductances += of_b[:, None] * gates
                opening = (of_a[:, None] * pulls + of_b[:, None] * conductances) * gates * (1 - gates)
                by_sigma += opening * centred
                opening *= sigma
                by_mu -= opening
                grad = share * c + tl.sum(opening, 0)
            tl.store(grad_dt + step, tl.sum(tl.where(mask, by_dt, 0.0), 0))
            tl.store(grad_drive + step * (2 * UNITS) + unit, by_pull, mask=mask)
            tl.store(grad_drive + step * (2 * UNITS) + UNITS + unit, by_conductance, mask=mask)
            if HAS_STARTS:
                grad = tl.where(tl.load(starts + step) != 0, 0.0, grad)
        tl.store(grad_state + row * UNITS + unit, grad, mask=mask)
    program = tl.program_id(0)
    tl.store(grad_capacity + program * UNITS + unit, by_c, mask=mask)
    own = grad_recurrent + program * (4 * UNITS * UNITS)
    store_synapses(own, place, exists, by_pulls, by_conductances, by_sigma, by_mu, UNITS * UNITS)


@triton.jit
def _sensory_backward(
    inputs,  # (T * B, F)
    grad_drive,  # (T * B, 2, U)
    sensory,  # (4, U, F)
    grad_inputs,  # (T * B, F)
    grad_sensory,  # (programs, 4, U, F)
    rows,
    UNITS: tl.constexpr,
    WIDTH: tl.constexpr,
    INPUTS: tl.constexpr,
    FEATURES: tl.constexpr,
):
    """Synapses from the inputs, which need no order of the steps."""
    unit, first = tl.arange(0, WIDTH), tl.program_id(1) * FEATURES
    source = first + tl.arange(0, FEATURES)
    place, exists = synapse_places(first, INPUTS, UNITS, WIDTH, FEATURES)
    pulls, conductances, sigma, mu = load_synapses(sensory, place, exists, UNITS * INPUTS)
    by_pulls, by_conductances = tl.zeros_like(pulls), tl.zeros_like(pulls)
    by_sigma, by_mu = tl.zeros_like(pulls), tl.zeros_like(pulls)
    for row in range(tl.program_id(0), rows, tl.num_programs(0)):
        by_pull = tl.load(grad_drive + row * (2 * UNITS) + unit, mask=unit < UNITS, other=0.0)[:, None]
        by_conductance = tl.load(grad_drive + row * (2 * UNITS) + UNITS + unit, mask=unit < UNITS, other=0.0)[:, None]
        centred = tl.load(inputs + row * INPUTS + source, mask=source < INPUTS, other=0.0)[None, :] - mu
        gates = tl.where(conductances > 0, tl.sigmoid(centred * sigma), 0.0)
        by_pulls += by_pull * gates
        by_conductances += by_conductance * gates
        opening = (by_pull * pulls + by_conductance * conductances) * gates * (1 - gates)
        by_sigma += tl.where(conductances > 0, opening * centred, 0.0)
        opening *= sigma
        by_mu -= opening
        tl.store(grad_inputs + row * INPUTS + source, tl.sum(opening, 0), mask=source < INPUTS)
    own = grad_sensory + tl.program_id(0) * (4 * UNITS * INPUTS)
    store_synapses(own, place, exists, by_pulls, by_conductances, by_sigma, by_mu, UNITS * INPUTS)


def _matrices(network: Network, synapses: torch.Tensor) -> list[torch.Tensor]:
    """Recurrent synapses ``(4, U, U)`` and those from the inputs ``(4, U, F)``; zero where there is none."""
    tables = network.recurrent, network.sensory
    matrices = [synapses.new_zeros(4, table.units * table.width) for table in tables]
    pairs = zip(tables, matrices, synapses.split([table.count for table in tables], dim=1), strict=True)
    return [matrix.index_copy_(1, table.matrix, part) for table, matrix, part in pairs]


def _launch(kernel: Any, network: Network, grid: tuple[int, ...], *arguments: Any, **constants: Any) -> None:
    """Run a kernel with the sizes of a network."""
    units = network.recurrent.units
    width = gpu.padded(units)
    options = {"num_warps": max(4, width // 8), "num_stages": 1, "enable_fp_fusion": True}
    with torch.cuda.device_of(arguments[0]):  # Triton launches on the current device
        kernel[grid](*arguments, UNITS=units, WIDTH=width, **constants, **options)


def _inputs(network: Network) -> dict[str, int]:
    """The number of inputs, and how many a kernel takes at a time."""
    features = network.sensory.width
    return {"INPUTS": features, "FEATURES": min(MOST_FEATURES, gpu.padded(features))}


def forward(
    network: Network, keep: bool, tensors: Sequence[torch.Tensor | None]
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The states after every step ``(T, B, U)``, and what :func:`backward` needs, if it is to be kept."""
    inputs, state, starts, dt, capacity, leak, synapses = tensors
    assert inputs is not None and state is not None and synapses is not None
    for tensor in (inputs, state, dt):
        if tensor is not None and (tensor.dtype, tensor.device) != (synapses.dtype, synapses.device):
            raise TypeError(
                f"expected {synapses.dtype} tensors on {synapses.device}, got {tensor.dtype} on {tensor.device}: move "
                "the cell, its inputs and its state to one device and type"
            )
    steps, batch, _ = inputs.shape
    units, rows = state.shape[-1], steps * batch
    recurrent, sensory = _matrices(network, synapses)
    drive, states = inputs.new_empty(steps, batch, 2, units), inputs.new_empty(steps, batch, units)
    potentials = inputs.new_empty(steps, batch, network.unfolds, units) if keep else states
    grid = (min(rows, PROGRAMS),)
    _launch(_sensory_forward, network, grid, inputs, leak, sensory, drive, rows, **_inputs(network))
    given = [drive, state, dense(starts, inputs), dt, capacity, recurrent, states, potentials]
    flags = {"UNFOLDS": network.unfolds, "HAS_STARTS": starts is not None, "KEEP": keep}
    _launch(_forward, network, (min(batch, PROGRAMS),), *given, steps, batch, **flags)
    return states, [drive, potentials, recurrent, sensory] if keep else []


def backward(
    network: Network,
    grad_states: torch.Tensor,
    kept: Sequence[torch.Tensor],
    tensors: Sequence[torch.Tensor | None],
) -> tuple[torch.Tensor | None, ...]:
    """The gradients of the tensors, in their order."""
    inputs, state, starts, dt, capacity, _, _ = tensors
    drive, potentials, recurrent, sensory = kept
    assert inputs is not None and state is not None and dt is not None
    steps, batch, _ = inputs.shape
    grad_drive, grad_inputs, grad_state, grad_dt = (torch.empty_like(one) for one in (drive, inputs, state, dt))
    programs, rows = min(batch, PROGRAMS), steps * batch
    grad_capacity = inputs.new_empty(programs, state.shape[-1])
    grad_recurrent = inputs.new_empty(programs, *recurrent.shape)
    given = [grad_states, drive, dense(starts, inputs), dt, capacity, recurrent, potentials]
    given += [grad_drive, grad_state, grad_dt, grad_capacity, grad_recurrent]
    flags = {"UNFOLDS": network.unfolds, "HAS_STARTS": starts is not None}
    _launch(_backward, network, (programs,), *given, steps, batch, **flags)
    sizes = _inputs(network)
    blocks = max(1, -(-sizes["INPUTS"] // sizes["FEATURES"]))
    grid = min(rows, max(1, PROGRAMS // blocks)), blocks
    grad_sensory = inputs.new_empty(grid[0], *sensory.shape)
    _launch(_sensory_backward, network, grid, inputs, grad_drive, sensory, grad_inputs, grad_sensory, rows, **sizes)
    pairs = (network.recurrent, grad_recurrent), (network.sensory, grad_sensory)
    grad_synapses = torch.cat([grads.sum(0)[:, table.matrix] for table, grads in pairs], dim=1)
    grad_leak = grad_drive.sum((0, 1)).t().unsqueeze(-1)
    return grad_inputs, grad_state, None, grad_dt, grad_capacity.sum(0).unsqueeze(-1), grad_leak, grad_synapses
