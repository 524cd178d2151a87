r"""The loops of :mod:`velora_sb3.cells.kernels.ltc` as Triton kernels.

One program walks through all steps and unfolds of one row of the batch, and of further rows where the batch is large.
It keeps every synapse from every unit to every unit, destinations along the rows and sources along the columns:
``WIDTH`` of both, the number of units padded to a power of two. Where there is no synapse its weights are zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl

from velora_sb3.cells.kernels import gpu
from velora_sb3.cells.kernels.gpu.gated import dense
from velora_sb3.cells.kernels.ltc_synapses import Synapses, SynapseTable

PROGRAMS = 1024  # at most: each keeps gradients of all synapses


@triton.jit
def load_synapses(synapses, kind, UNITS: tl.constexpr, WIDTH: tl.constexpr):
    """One parameter of all synapses ``(WIDTH, WIDTH)``."""
    unit, source = tl.arange(0, WIDTH)[:, None], tl.arange(0, WIDTH)[None, :]
    place = kind * UNITS * UNITS + unit * UNITS + source
    return tl.load(synapses + place, mask=(unit < UNITS) & (source < UNITS), other=0.0)


@triton.jit
def store_synapses(synapses, kind, values, UNITS: tl.constexpr, WIDTH: tl.constexpr):
    """Where :func:`load_synapses` would read."""
    unit, source = tl.arange(0, WIDTH)[:, None], tl.arange(0, WIDTH)[None, :]
    place = kind * UNITS * UNITS + unit * UNITS + source
    tl.store(synapses + place, values, mask=(unit < UNITS) & (source < UNITS))


@triton.jit
def _forward(
    drive,  # (T, B, 2, U): pull and conductance of the inputs and the leak
    state,  # (B, U)
    starts,  # (T, B)
    dt,  # (T, B)
    capacity,  # (U,)
    synapses,  # (4, U, U): conductance times reversal potential, conductance, sigma, mu
    states,  # (T, B, M, U): the potentials after each unfold
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
    pulls, conductances = load_synapses(synapses, 0, UNITS, WIDTH), load_synapses(synapses, 1, UNITS, WIDTH)
    sigma, mu = load_synapses(synapses, 2, UNITS, WIDTH), load_synapses(synapses, 3, UNITS, WIDTH)
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
                gates = tl.sigmoid((v[None, :] - mu) * sigma)
                a, b = pull + tl.sum(pulls * gates, 1), conductance + tl.sum(conductances * gates, 1)
                v += delta * (a - b * v) / (c + delta * b)
                tl.store(states + (step * UNFOLDS + unfold) * UNITS + unit, v, mask=mask)


@triton.jit
def _backward(
    grad_states,  # (T, B, U)
    drive,  # (T, B, 2, U)
    state,  # (B, U)
    starts,  # (T, B)
    dt,  # (T, B)
    capacity,  # (U,)
    synapses,  # (4, U, U)
    states,  # (T, B, M, U)
    grad_drive,  # (T, B, 2, U)
    grad_state,  # (B, U)
    grad_dt,  # (T, B)
    grad_capacity,  # (programs, U)
    grad_synapses,  # (programs, 4, U, U)
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
    pulls, conductances = load_synapses(synapses, 0, UNITS, WIDTH), load_synapses(synapses, 1, UNITS, WIDTH)
    sigma, mu = load_synapses(synapses, 2, UNITS, WIDTH), load_synapses(synapses, 3, UNITS, WIDTH)
    by_c = tl.zeros((WIDTH,), tl.float32)
    by_pulls, by_conductances = tl.zeros_like(pulls), tl.zeros_like(pulls)
    by_sigma, by_mu = tl.zeros_like(pulls), tl.zeros_like(pulls)
    for row in range(tl.program_id(0), batch, tl.num_programs(0)):
        grad = tl.zeros((WIDTH,), tl.float32)
        for i in range(steps):
            t = steps - 1 - i
            step = t * batch + row
            grad += tl.load(grad_states + step * UNITS + unit, mask=mask, other=0.0)
            delta = tl.load(dt + step)
            pull = tl.load(drive + step * (2 * UNITS) + unit, mask=mask, other=0.0)
            conductance = tl.load(drive + step * (2 * UNITS) + UNITS + unit, mask=mask, other=0.0)
            start = tl.load(starts + step) != 0 if HAS_STARTS else False
            by_pull, by_conductance = tl.zeros((WIDTH,), tl.float32), tl.zeros((WIDTH,), tl.float32)
            by_dt = tl.zeros((WIDTH,), tl.float32)
            for back in range(UNFOLDS):
                unfold = UNFOLDS - 1 - back
                if unfold > 0:
                    before = states + (step * UNFOLDS + unfold - 1) * UNITS
                elif t > 0:
                    before = states + ((step - batch) * UNFOLDS + UNFOLDS - 1) * UNITS
                else:
                    before = state + row * UNITS
                v = tl.load(before + unit, mask=mask, other=0.0)
                if HAS_STARTS:
                    v = tl.where(start & (unfold == 0), 0.0, v)
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
            tl.store(grad_drive + step * (2 * UNITS) + unit, by_pull, mask=mask)
            tl.store(grad_drive + step * (2 * UNITS) + UNITS + unit, by_conductance, mask=mask)
            tl.store(grad_dt + step, tl.sum(tl.where(mask, by_dt, 0.0), 0))
            if HAS_STARTS:
                grad = tl.where(start, 0.0, grad)
        tl.store(grad_state + row * UNITS + unit, grad, mask=mask)
    program = tl.program_id(0)
    tl.store(grad_capacity + program * UNITS + unit, by_c, mask=mask)
    here = grad_synapses + program * (4 * UNITS * UNITS)
    store_synapses(here, 0, by_pulls, UNITS, WIDTH)
    store_synapses(here, 1, by_conductances, UNITS, WIDTH)
    store_synapses(here, 2, by_sigma, UNITS, WIDTH)
    store_synapses(here, 3, by_mu, UNITS, WIDTH)


def places(table: SynapseTable) -> torch.Tensor:
    """Where each synapse of a table stands in a matrix from every unit to every unit ``(E,)``."""
    unit = table.first + table.slots // table.fan_in
    place: torch.Tensor = unit * table.units + table.sources[table.slots]
    return place


def spread(table: SynapseTable, synapses: Sequence[torch.Tensor]) -> torch.Tensor:
    """Synapses in a table as matrices ``(4, U, U)``."""
    weights, sigma, mu = synapses
    columns = torch.stack([weights[:, 0], weights[:, 1], sigma[..., 0], mu[..., 0]]).flatten(1)
    matrices = sigma.new_zeros(4, table.units * table.units)
    matrices[:, places(table)] = columns[:, table.slots]
    return matrices


def collect(table: SynapseTable, matrices: torch.Tensor) -> Synapses:
    """What :func:`spread` spread, or gradients of it, as a table again."""
    columns = matrices.new_zeros(4, table.rows * table.fan_in)
    columns[:, table.slots] = matrices.flatten(1)[:, places(table)]
    pull, conductance, sigma, mu = columns.view(4, table.rows, table.fan_in).unbind(0)
    return Synapses(torch.stack([pull, conductance], 1), sigma.unsqueeze(-1), mu.unsqueeze(-1))


def launch(kernel: Any, arguments: list[torch.Tensor], steps: int, batch: int, **constants: Any) -> None:
    """Run a kernel on all rows of the batch."""
    width = gpu.padded(constants["UNITS"])
    options = {"num_warps": width // 4, "num_stages": 1, "enable_fp_fusion": True}
    kernel[(min(batch, PROGRAMS),)](*arguments, steps, batch, WIDTH=width, **constants, **options)


def forward(
    table: SynapseTable,
    unfolds: int,
    drive: torch.Tensor,  # (T, U, 2, B)
    state: torch.Tensor,  # (U, B)
    starts: torch.Tensor | None,  # (T, 1, B)
    dt: torch.Tensor,  # (T, 1, B) or (T, 1, 1)
    capacity: torch.Tensor,  # (U, 1)
    synapses: Sequence[torch.Tensor],
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The states after every step ``(T, U, B)``, and what :func:`backward` needs."""
    steps, units, _, batch = drive.shape
    given = [drive.permute(0, 3, 2, 1).contiguous(), state.t().contiguous()]
    given += [dense(starts, drive), dt.expand(steps, 1, batch).contiguous(), capacity, spread(table, synapses)]
    states = drive.new_empty(steps, batch, unfolds, units)
    flags = {"UNITS": units, "UNFOLDS": unfolds, "HAS_STARTS": starts is not None}
    launch(_forward, [*given, states], steps, batch, **flags)
    return states[:, :, -1].transpose(1, 2).contiguous(), [*given, states]


def backward(
    table: SynapseTable,
    unfolds: int,
    grad_states: torch.Tensor,  # (T, U, B)
    has_starts: bool,
    kept: list[torch.Tensor],
) -> tuple[torch.Tensor, ...]:
    """The gradients of drive, state, dt ``(T, 1, B)``, capacity and synapses."""
    drive, state, _, dt, _, synapses, _ = kept
    steps, batch, _, units = drive.shape
    programs = min(batch, PROGRAMS)
    grads = [torch.empty_like(drive), torch.empty_like(state), torch.empty_like(dt)]
    grads += [drive.new_empty(programs, units), drive.new_empty(programs, *synapses.shape)]
    flags = {"UNITS": units, "UNFOLDS": unfolds, "HAS_STARTS": has_starts}
    launch(_backward, [grad_states.transpose(1, 2).contiguous(), *kept, *grads], steps, batch, **flags)
    grad_drive, grad_state, grad_dt, grad_capacity, grad_synapses = grads
    return (
        *(grad_drive.permute(0, 3, 2, 1), grad_state.t(), grad_dt, grad_capacity.sum(0).unsqueeze(-1)),
        *collect(table, grad_synapses.sum(0)),
    )
