"""The synapses of an LTC network, laid out as tables without the synapses that do not exist."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

Array = np.ndarray[Any, Any]


class Synapses(NamedTuple):
    """A bank of synapses in the layout of its `SynapseTable`; zeros where there is none."""

    weights: torch.Tensor  # (D, 2, K): conductance times reversal potential, conductance
    sigma: torch.Tensor  # (D, K, 1): steepness
    mu: torch.Tensor  # (D, K, 1): potential of the source at which the synapse is half open


class SynapseTable(nn.Module):
    """Which synapses enter which unit: ``D`` rows, one for each destination, of ``K`` entries each.

    The rows are the units from the first to the last that has a synapse. Where nearly all sources reach nearly all
    units the table is dense: ``K`` is the number of sources and nothing has to be gathered. Otherwise ``K`` is the
    largest fan-in. A second table has one row for each source, ``S`` rows of ``F`` places, because the backward
    pass is faster if it gathers what comes back to a source than if it scatters it.

    Args:
        adjacency: ``(sources, units)``, not 0 where there is a synapse.
    """

    slots: torch.Tensor  # (E,): the entry of each synapse; synapses in the row-major order of the adjacency
    sources: torch.Tensor  # (D * K,): the source that an entry reads
    by_source: torch.Tensor  # (S * F,): the entry that stands at a place of the source's table
    places: torch.Tensor  # (D * K,): the place of an entry in the source's table
    by_unit: torch.Tensor  # (U + 1 + 2 * E,), int32: where each unit's synapses begin, their sources, their numbers
    matrix: torch.Tensor  # (E,): the place of each synapse in a matrix of all units and all sources

    def __init__(self, adjacency: Array) -> None:
        super().__init__()
        source, unit = np.nonzero(adjacency)
        self.count, (self.width, self.units) = len(source), adjacency.shape
        self.first, self.rows = _span(unit)
        self.first_source, self.source_rows = _span(source)
        row, source_row = unit - self.first, source - self.first_source
        self.fan_in = int(max(np.bincount(row, minlength=1).max(), 1))
        self.fan_out = int(max(np.bincount(source_row, minlength=1).max(), 1))
        self.dense = self.fan_in >= 0.9 * self.source_rows  # measured: here gathering stops paying
        if self.dense:
            self.fan_in, self.fan_out = self.source_rows, self.rows
        slots = row * self.fan_in + (source_row if self.dense else _rank(row))
        place = source_row * self.fan_out + (row if self.dense else _rank(source_row))
        entries, places = self.rows * self.fan_in, self.source_rows * self.fan_out
        # An entry without a synapse reads any source: its weights are zero and its gradients are dropped.
        for name, size, index, values in (
            ("slots", self.count, np.arange(self.count), slots),
            ("sources", entries, slots, source),
            ("by_source", places, place, slots),
            ("places", entries, slots, place),
        ):
            table = torch.zeros(size, dtype=torch.int64)
            table[torch.as_tensor(index)] = torch.as_tensor(values)
            self.register_buffer(name, table, persistent=False)
        order = np.argsort(unit, kind="stable")
        first = np.searchsorted(unit[order], np.arange(self.units + 1))
        by_unit = torch.as_tensor(np.concatenate([first, source[order], order]), dtype=torch.int32)
        self.register_buffer("by_unit", by_unit, persistent=False)
        self.register_buffer("matrix", torch.as_tensor(unit * self.width + source), persistent=False)

    def lay_out(self, flat: torch.Tensor) -> Synapses:
        """Put synapses into the table.

        Args:
            flat: ``(4, E)``: conductance times reversal potential, conductance, sigma, mu of each synapse.
        """
        table = flat.new_zeros(4, self.rows * self.fan_in).index_copy(1, self.slots, flat)
        table = table.view(4, self.rows, self.fan_in)
        return Synapses(table[:2].transpose(0, 1).contiguous(), table[2].unsqueeze(-1), table[3].unsqueeze(-1))

    def currents(self, synapses: Synapses, potentials: torch.Tensor) -> torch.Tensor:
        """The currents that the potentials of the sources ``(B, sources)`` cause in each unit, batch first.

        Returns:
            ``(2, B, U)``: current that pulls to the reversal potentials, and conductance.
        """
        read = potentials.index_select(1, self.sources)
        gates = torch.sigmoid((read - synapses.mu.view(-1)) * synapses.sigma.view(-1))
        gates = gates.view(-1, self.rows, self.fan_in).transpose(0, 1)  # (D, B, K)
        currents = torch.bmm(gates, synapses.weights.transpose(1, 2)).permute(2, 1, 0)
        return functional.pad(currents, (self.first, self.units - self.first - self.rows))

    def spread(self, currents: torch.Tensor) -> torch.Tensor:
        """From the currents of the table's rows ``(D, 2, B)`` those of all units ``(U, 2, B)``, batch last."""
        return functional.pad(currents, (0, 0, 0, 0, self.first, self.units - self.first - self.rows))


class Network(NamedTuple):
    """What does not change while an LTC learns."""

    recurrent: SynapseTable
    sensory: SynapseTable
    unfolds: int


class SynapseBank:
    """Synapses at work inside a kernel on ``B`` columns: buffers, and the sums of the gradients."""

    def __init__(self, table: SynapseTable, synapses: Synapses, columns: int) -> None:
        self.table, self.synapses, self.columns = table, synapses, columns
        self.rows = slice(table.first, table.first + table.rows)
        self.source_rows = slice(table.first_source, table.first_source + table.source_rows)
        self.gates = synapses.mu.new_empty(table.rows, table.fan_in, columns)
        # Every column in full: torch vectorises addcmul only where nothing is broadcast.
        self.steepness = synapses.sigma.expand_as(self.gates).contiguous()
        self.threshold = (-synapses.sigma * synapses.mu).expand_as(self.gates).contiguous()
        self.flat_gates = self.gates.flatten(0, 1)

    def open(self, potentials: torch.Tensor) -> torch.Tensor:
        """How far each synapse is open, ``(D, K, B)``, for the sources' potentials ``(sources, B)``."""
        if self.table.dense:
            read = potentials[self.source_rows]
        else:
            torch.index_select(potentials, 0, self.table.sources, out=self.flat_gates)
            read = self.gates
        return torch.addcmul(self.threshold, read, self.steepness, out=self.gates).sigmoid_()

    def start_backward(self, steps: int) -> None:
        """Allocate the buffers of the backward pass, with room for the potentials of ``steps``."""
        table, (weights, sigma, _) = self.table, self.synapses
        self.outgoing = weights.transpose(1, 2).contiguous()
        self.grad_gates = torch.empty_like(self.gates)
        self.flat_grad_gates = self.grad_gates.flatten(0, 1)
        if table.dense:
            self.by_source = self.grad_gates.transpose(0, 1)  # (S, F, B)
        else:
            self.by_source = sigma.new_empty(table.source_rows, table.fan_out, self.columns)
            self.flat_by_source = self.by_source.flatten(0, 1)
        self.columns_by_source = self.by_source.transpose(1, 2)
        self.sigma = sigma.new_zeros(table.source_rows, table.fan_out, 1)
        self.sigma.view(-1)[table.places[table.slots]] = sigma.view(-1)[table.slots]
        self.sigma_row = self.sigma.transpose(1, 2)
        self.received = sigma.new_empty(table.source_rows, self.columns)
        self.small = table.fan_out * self.columns < 400  # torch's bmm is slow on products as small as this
        self.factors = sigma.new_ones(steps, table.source_rows, 2, self.columns)  # one, and the potential
        self.grad_weights = torch.zeros_like(weights)
        self.moments = sigma.new_zeros(table.source_rows, 2, table.fan_out)

    def set_potentials(self, potentials: torch.Tensor) -> None:
        """Set the potentials ``(steps, sources, B)`` from which the gates were computed."""
        self.factors[:, :, 1] = potentials[:, self.source_rows]

    def pull_back(self, grad_currents: torch.Tensor, gates: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
        """The gradient of the potentials ``(S, B)``, given that of the currents ``(D, 2, B)``; sums the others."""
        self.grad_weights.baddbmm_(grad_currents, gates.transpose(1, 2))
        torch.bmm(self.outgoing, grad_currents, out=self.grad_gates)
        torch.ops.aten.sigmoid_backward.grad_input(self.grad_gates, gates, grad_input=self.grad_gates)
        if not self.table.dense:
            torch.index_select(self.flat_grad_gates, 0, self.table.by_source, out=self.flat_by_source)
        self.moments.baddbmm_(factors, self.columns_by_source)
        if self.small:
            return torch.sum(self.by_source * self.sigma, 1, out=self.received)
        torch.bmm(self.sigma_row, self.by_source, out=self.received.unsqueeze(1))
        return self.received

    def gradients(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The gradients of weights, sigma and mu; meaningless where there is no synapse."""
        _, sigma, mu = self.synapses
        moments = self.moments.transpose(1, 2).reshape(-1, 2)[self.table.places]
        zeroth, first = moments.view(*sigma.shape[:2], 2, 1).unbind(2)
        return self.grad_weights, first - mu * zeroth, -sigma * zeroth


def _span(units: Array) -> tuple[int, int]:
    """The first unit, and how many there are from it to the last."""
    return (0, 0) if len(units) == 0 else (int(units.min()), int(units.max() - units.min() + 1))


def _rank(groups: Array) -> Array:
    """The position of each element among those of its own group."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    ranks = np.empty_like(order)
    ranks[order] = np.arange(len(groups)) - np.searchsorted(ordered, ordered)
    return ranks
