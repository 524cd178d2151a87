r"""A whole LTC sequence in one autograd function, and the sensory synapses, which need no loop over time, in another.

Units come first and the batch last, so a row is one unit over the whole batch: ``U`` units, ``B`` sequences, ``M``
ODE unfolds per step, synapses in the tables of :mod:`velora_sb3.cells.kernels.ltc_synapses`. The forward pass keeps
three numbers per unit and unfold; the backward pass opens the synapses again, which are many more numbers. In float32
:mod:`velora_sb3.cells.kernels.gpu` on an NVIDIA GPU, and with a C compiler :mod:`velora_sb3.cells.kernels.cpu` on a
CPU, replace all of it.

One unfold, with :math:`A` the pull and :math:`B` the conductance of all synapses and the leak:

.. math::
    D = c + \delta B, \quad r = \frac{A - B v}{D}, \quad v' = v + \delta r; \qquad
    \frac{\partial v'}{\partial v} = \frac{c}{D}, \;
    \frac{\partial v'}{\partial A} = \frac{\delta}{D}, \;
    \frac{\partial v'}{\partial B} = -\frac{\delta v'}{D}, \;
    \frac{\partial v'}{\partial c} = -\frac{\delta r}{D}, \;
    \frac{\partial v'}{\partial \delta} = \frac{c \, r}{D}
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import Any

import torch

from velora_sb3.cells.kernels import cpu, gpu
from velora_sb3.cells.kernels.cpu import ltc as on_cpu
from velora_sb3.cells.kernels.cpu.calling import dense
from velora_sb3.cells.kernels.ltc_synapses import Network, SynapseBank, Synapses, SynapseTable
from velora_sb3.cells.kernels.plain_form import needs_plain_form, needs_plain_gradients, plain_gradients
from velora_sb3.cells.kernels.sequence import reset_masks

COLUMNS = 256  # width of the pieces in which sensory synapses are computed: they fit the processor's cache
GPU_COLUMNS = 2**16  # the same on a GPU, which has to be kept busy

Gradients = tuple[torch.Tensor | None, ...]


def _pieces(*tensors: torch.Tensor) -> list[tuple[torch.Tensor, ...]]:
    columns = COLUMNS if tensors[0].device.type == "cpu" else GPU_COLUMNS
    return [torch.split(tensor, columns, dim=-1) for tensor in tensors]


def _plain_currents(table: SynapseTable, potentials: torch.Tensor, *synapses: torch.Tensor) -> torch.Tensor:
    """What :class:`SensoryCurrents` computes, in operations that can be differentiated any number of times."""
    weights, sigma, mu = synapses
    read = potentials.index_select(0, table.sources).view(table.rows, table.fan_in, -1)
    return torch.bmm(weights, torch.sigmoid((read - mu) * sigma))


def _plain_sequence(table: SynapseTable, unfolds: int, *tensors: Any) -> torch.Tensor:
    """What :class:`LTCSequence` computes, in such operations."""
    drive, state, starts, dt, capacity, *synapses = tensors
    states = []
    for t, base in enumerate(drive.unbind(0)):
        state = state if starts is None else torch.where(starts[t], 0, state)
        for _ in range(unfolds):
            pull, conductance = (base + table.spread(_plain_currents(table, state, *synapses))).unbind(1)
            state = state + dt[t] * (pull - conductance * state) / (capacity + dt[t] * conductance)
        states.append(state)
    return torch.stack(states)


class SensoryCurrents(torch.autograd.Function):
    """The currents ``(D, 2, N)`` that potentials ``(sources, N)`` cause in the rows of a table, piece by piece."""

    @staticmethod
    def forward(ctx: Any, table: SynapseTable, potentials: torch.Tensor, *synapses: torch.Tensor) -> torch.Tensor:
        """Piece by piece."""
        currents = potentials.new_empty(table.rows, 2, potentials.shape[1])
        for piece, out in zip(*_pieces(potentials, currents), strict=True):
            bank = SynapseBank(table, Synapses(*synapses), piece.shape[1])
            out.copy_(torch.bmm(synapses[0], bank.open(piece)))
        ctx.save_for_backward(potentials, *synapses)
        ctx.table = table
        return currents

    @staticmethod
    def backward(ctx: Any, grad_currents: torch.Tensor) -> Gradients:
        """Piece by piece; the gates are computed again."""
        potentials, *synapses = ctx.saved_tensors
        if needs_plain_gradients(grad_currents):
            compute = partial(_plain_currents, ctx.table)
            return None, *plain_gradients(compute, (potentials, *synapses), grad_currents)
        grad = torch.zeros_like(potentials)
        sums = [torch.zeros_like(parameter) for parameter in synapses]
        for piece, received, out in zip(*_pieces(potentials, grad_currents, grad), strict=True):
            bank = SynapseBank(ctx.table, Synapses(*synapses), piece.shape[1])
            bank.start_backward(1)
            bank.set_potentials(piece.unsqueeze(0))
            out[bank.source_rows] = bank.pull_back(received.contiguous(), bank.open(piece), bank.factors[0])
            for total, part in zip(sums, bank.gradients(), strict=True):
                total += part
        return None, grad, *sums


class LTCSequence(torch.autograd.Function):
    """All steps and all unfolds; called by :func:`ltc_sequence`."""

    @staticmethod
    def forward(
        ctx: Any,
        table: SynapseTable,
        unfolds: int,
        drive: torch.Tensor,
        state: torch.Tensor,
        starts: torch.Tensor | None,
        dt: torch.Tensor,
        capacity: torch.Tensor,
        *synapses: torch.Tensor,
    ) -> torch.Tensor:
        """Every buffer is written in place; see the module's docstring for the equation."""
        steps, units, _, batch = drive.shape
        ctx.table, ctx.unfolds = table, unfolds
        initial, resets = state, reset_masks(starts, steps)
        states = state.new_empty(steps, unfolds + 1, units, batch)
        scales, rates = state.new_empty(2, steps, unfolds, units, batch).unbind(0)
        bank = SynapseBank(table, Synapses(*synapses), batch)
        currents = torch.empty_like(drive[0])
        pull, conductance = currents.unbind(1)
        rows, drive_rows = currents[bank.rows], drive[:, bank.rows]
        wide_capacity = capacity.expand(units, batch).contiguous()
        for t, (step_dt, base) in enumerate(zip(dt.unbind(0), drive_rows.unbind(0), strict=True)):
            potentials, *following = states[t].unbind(0)
            reset = resets[t]
            potentials.copy_(state if reset is None else torch.where(reset, 0, state))
            currents.copy_(drive[t])
            for state, scale, rate in zip(following, scales[t].unbind(0), rates[t].unbind(0), strict=True):
                torch.baddbmm(base, synapses[0], bank.open(potentials), out=rows)
                torch.addcmul(wide_capacity, conductance, step_dt, out=scale)
                torch.addcmul(pull, conductance, potentials, value=-1, out=rate).div_(scale)
                potentials = torch.addcmul(potentials, rate, step_dt, out=state)
        ctx.save_for_backward(drive, initial, starts, dt, capacity, *synapses, states, scales, rates)
        ctx.resets = resets
        return states[:, -1].clone()

    @staticmethod
    def backward(ctx: Any, grad_outputs: torch.Tensor) -> Gradients:
        """Unfold by unfold from the last."""
        drive, initial, starts, dt, capacity, *rest = ctx.saved_tensors
        synapses, kept = rest[:3], rest[3:]
        if needs_plain_gradients(grad_outputs):
            compute = partial(_plain_sequence, ctx.table, ctx.unfolds)
            return (
                None,
                None,
                *plain_gradients(compute, (drive, initial, starts, dt, capacity, *synapses), grad_outputs),
            )
        states, scales, rates = kept
        steps, unfolds, units, batch = scales.shape
        bank = SynapseBank(ctx.table, Synapses(*synapses), batch)
        bank.start_backward(unfolds)
        grad = states.new_zeros(units, batch)
        source_grad = grad[bank.source_rows]
        grad_drive = states.new_empty(steps, units, 2, batch)
        elasticity = states.new_empty(steps, units, batch)  # sum over a step's unfolds of dL/dv' r / D
        weighed = torch.empty_like(scales[0])  # (M, U, B): dL/dv' / D
        towards, currents = states.new_empty(2, unfolds, units, 2, batch).unbind(0)  # D dv'/d(A, B); dL/d(A, B)
        wide_capacity = capacity.expand(units, batch).contiguous()
        views = (weighed, weighed.unsqueeze(2), towards, currents, currents[:, bank.rows], bank.factors)
        every_view = list(zip(*(view.unbind(0) for view in views), strict=True))
        for t in range(steps - 1, -1, -1):
            grad += grad_outputs[t]
            towards[:, :, 0] = dt[t]
            torch.mul(states[t, 1:], -dt[t], out=towards[:, :, 1])
            bank.set_potentials(states[t, :-1])
            unfold = zip(states[t].unbind(0), scales[t].unbind(0), every_view, strict=False)
            for potentials, scale, (ratio, wide_ratio, toward, current, rows, factors) in reversed(list(unfold)):
                torch.div(grad, scale, out=ratio)
                torch.mul(wide_ratio, toward, out=current)
                torch.mul(ratio, wide_capacity, out=grad)
                source_grad += bank.pull_back(rows, bank.open(potentials), factors)
            torch.sum(currents, 0, out=grad_drive[t])
            torch.sum(weighed.mul_(rates[t]), 0, out=elasticity[t])
            reset = ctx.resets[t]
            if reset is not None:
                grad.masked_fill_(reset, 0)
        grad_dt = (elasticity * capacity).sum_to_size(dt.shape) if ctx.needs_input_grad[5] else None
        grad_capacity = (elasticity * dt).sum((0, 2)).neg_().unsqueeze(-1)
        return None, None, grad_drive, grad, None, grad_dt, grad_capacity, *bank.gradients()


def ltc_sequence(
    inputs: torch.Tensor,  # (T, B, F)
    state: torch.Tensor,  # (U, B)
    starts: torch.Tensor | None,  # (T, 1, B), bool
    dt: torch.Tensor,  # (T, 1, B), or (T, 1, 1)
    capacity: torch.Tensor,  # (U, 1)
    leak: torch.Tensor,  # (U, 2, 1)
    recurrent: tuple[SynapseTable, Synapses],
    sensory: tuple[SynapseTable, Synapses],
    unfolds: int,
) -> torch.Tensor:
    """All steps of an LTC network, differentiable in everything but ``starts``.

    Args:
        inputs: Potentials of the sensory neurons.
        state: Potentials of the units before the first step.
        starts: True where an episode starts.
        dt: Length of one unfold, not negative.
        capacity: Membrane capacitance of each unit, positive.
        leak: Each unit's leak: conductance times resting potential, and conductance.
        recurrent: Synapses between units.
        sensory: Synapses from the inputs.
        unfolds: Unfolds per step ``M``.

    Returns:
        Potentials after each step ``(T, U, B)``.
    """
    steps, batch, _ = inputs.shape
    table, synapses = sensory
    plain, potentials = needs_plain_form(), inputs.flatten(0, 1).t().contiguous()
    sensory_currents: Any = _plain_currents if plain else SensoryCurrents.apply
    currents: torch.Tensor = sensory_currents(table, potentials, *synapses)
    drive = leak + table.spread(currents)  # (U, 2, T * B)
    drive = drive.view(*drive.shape[:2], steps, batch).permute(2, 0, 1, 3).contiguous()
    sequence: Any = _plain_sequence if plain else LTCSequence.apply
    outputs: torch.Tensor = sequence(recurrent[0], unfolds, drive, state, starts, dt, capacity, *recurrent[1])
    return outputs


def kernel_of(synapses: torch.Tensor, network: Network, rows: int = 1) -> Any:
    """The module that computes an LTC with these synapses at once, in Triton or in C; None where there is none.

    Args:
        synapses: ``(4, E)``, or one of the four.
        network: What does not change while it learns.
        rows: Rows of all steps.
    """
    if needs_plain_form():
        return None
    recurrent, sensory, unfolds = network
    largest = max(max(2, unfolds) * recurrent.units, sensory.width)  # potentials, currents or inputs of a row
    if gpu.supports_ltc(synapses, recurrent.units, rows * largest):
        return import_module(f"{gpu.__name__}.ltc")  # which imports Triton
    return on_cpu if cpu.supports(synapses, 0) else None


def _by_tables(network: Network, *tensors: Any) -> torch.Tensor:
    """What :class:`_CompiledSequence` computes, which can be differentiated any number of times."""
    inputs, state, starts, dt, capacity, leak, synapses = tensors
    recurrent, sensory, unfolds = network
    between, incoming = synapses.split([recurrent.count, sensory.count], dim=1)
    return ltc_sequence(
        inputs,
        state.t(),
        None if starts is None else starts.transpose(1, 2),
        dt.transpose(1, 2),
        capacity,
        leak,
        (recurrent, recurrent.lay_out(between)),
        (sensory, sensory.lay_out(incoming)),
        unfolds,
    ).transpose(1, 2)


class _CompiledSequence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kernel: Any, network: Network, *tensors: torch.Tensor | None) -> torch.Tensor:
        states: torch.Tensor
        states, kept = kernel.forward(network, True, tensors)
        ctx.save_for_backward(*tensors, *kept)
        ctx.kernel, ctx.network, ctx.count = kernel, network, len(tensors)
        return states

    @staticmethod
    def backward(ctx: Any, grad_states: torch.Tensor) -> Gradients:
        saved = ctx.saved_tensors
        tensors, kept = saved[: ctx.count], saved[ctx.count :]
        if needs_plain_gradients(grad_states):
            return None, None, *plain_gradients(partial(_by_tables, ctx.network), tensors, grad_states)
        return None, None, *ctx.kernel.backward(ctx.network, grad_states.contiguous(), kept, tensors)


def compiled_sequence(
    kernel: Any,  # what :func:`kernel_of` returns
    network: Network,
    inputs: torch.Tensor,  # (T, B, F)
    state: torch.Tensor | None,  # (B, U)
    starts: torch.Tensor | None,  # (T, B, 1), bool
    timespans: torch.Tensor | None,  # (T, B, 1)
    capacity: torch.Tensor,  # (U, 1)
    leak: torch.Tensor,  # (U, 2, 1)
    synapses: torch.Tensor,  # (4, E)
) -> torch.Tensor:
    """What :func:`ltc_sequence` computes, by a kernel and batch first: the potentials after each step ``(T, B, U)``."""
    steps, batch, _ = inputs.shape
    if state is None:
        state = inputs.new_zeros(batch, network.recurrent.units)
    dt = inputs.new_full((steps, batch, 1), 1 / network.unfolds) if timespans is None else timespans / network.unfolds
    given = dense(inputs, state, starts, dt, capacity, leak, synapses)
    learns = torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in given)
    sequence: Any = _CompiledSequence.apply
    states: torch.Tensor = sequence(kernel, network, *given) if learns else kernel.forward(network, False, given)[0]
    return states
