"""One step of a liquid time-constant network."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from ncps.wirings import Wiring
from torch import nn
from torch.nn import functional

from velora_sb3._validation import check_choice, check_integer, check_number
from velora_sb3.cells.cell import LiquidCell, recompute_weights
from velora_sb3.cells.kernels.ltc import compiled_sequence, kernel_of, ltc_sequence
from velora_sb3.cells.kernels.ltc_synapses import Network, Synapses, SynapseTable
from velora_sb3.cells.wiring import built_copy

MAPPINGS: tuple[Any, ...] = ("affine", "linear", None)
_POSITIVE = ("w", "gleak", "cm")


class LTCWeights(NamedTuple):
    """An LTC cell's weights, positive where they must be."""

    capacity: torch.Tensor  # (U, 1)
    leak: torch.Tensor  # (U, 2, 1): conductance times resting potential, conductance plus epsilon
    synapses: torch.Tensor  # (4, E): conductance times reversal potential, conductance, sigma, mu
    tables: tuple[Synapses, Synapses] | None  # recurrent and sensory synapses; None where a kernel takes over
    network: Network


class LTCCell(LiquidCell):
    r"""A liquid time-constant network: neurons whose synapses determine how fast their potentials change.

    With the conductance of synapse :math:`j \to i` opened by its source's potential,

    .. math::
        g_{ji} = w_{ji} \, \sigma(\sigma_{ji} (v_j - \mu_{ji})), \qquad
        A_i = \sum_j g_{ji} e_{ji} + g^l_i v^l_i, \qquad B_i = \sum_j g_{ji} + g^l_i + \varepsilon

    (sums over units and inputs), a step of length :math:`t` is ``ode_unfolds`` semi-implicit Euler steps of
    :math:`\delta = t / \mathrm{ode\_unfolds}`:

    .. math::
        v_i \leftarrow v_i + \delta \, \frac{A_i - B_i v_i}{c_i + \delta B_i}
        = \frac{c_i v_i / \delta + A_i}{c_i / \delta + B_i}

    :math:`w, g^l, c` are softplus of the parameters. Only the synapses of the wiring have parameters: ``w``, ``sigma``,
    ``mu`` and ``erev`` hold the recurrent synapses first, then the sensory ones, ordered by source.

    Args:
        wiring: An ncps wiring. It is copied: one wiring serves any number of cells.
        in_features: Number of features ``F``; None if the wiring is built.
        input_mapping: ``affine``, ``linear`` or None: a scale and a shift for each input.
        output_mapping: The same for each output.
        ode_unfolds: Number of unfolds per step.
        epsilon: Added to the conductance, against division by zero.

    Raises:
        TypeError: If ``wiring`` is not an ncps wiring.
        ValueError: If the wiring is not built and ``in_features`` is None, has no output size, or is built for
            another number of inputs; or if another argument is out of range or unknown.

    References:
        Hasani et al. (2021), "Liquid Time-constant Networks", AAAI, https://arxiv.org/abs/2006.04439, equation 3 and
        Algorithm 1. Differs from ncps: weights are always kept positive by softplus, absent synapses have no
        parameters, a step of length 0 leaves the state unchanged (ncps divides by it), timespans may be batched.
    """

    def __init__(
        self,
        wiring: Wiring,
        in_features: int | None = None,
        input_mapping: str | None = "affine",
        output_mapping: str | None = "affine",
        ode_unfolds: int = 6,
        epsilon: float = 1e-8,
    ) -> None:
        super().__init__()
        check_choice("input_mapping", input_mapping, MAPPINGS)
        check_choice("output_mapping", output_mapping, MAPPINGS)
        self.wiring = built_copy(wiring, in_features)
        if self.wiring.output_dim is None:
            raise ValueError("the wiring has no number of outputs: call wiring.set_output_dim(...) first")
        self.input_mapping, self.output_mapping = input_mapping, output_mapping
        self.ode_unfolds = check_integer("ode_unfolds", ode_unfolds)
        self.epsilon = check_number("epsilon", epsilon, least=0)
        self.input_size = int(self.wiring.input_dim)
        self.state_size = int(self.wiring.units)
        self.output_size = int(self.wiring.output_dim)
        self.recurrent = SynapseTable(self.wiring.adjacency_matrix)
        self.sensory = SynapseTable(self.wiring.sensory_adjacency_matrix)
        self.synapse_count = self.recurrent.count + self.sensory.count

        def uniform(size: int, low: float, high: float) -> nn.Parameter:
            return nn.Parameter(torch.empty(size).uniform_(low, high))

        self.gleak = uniform(self.state_size, 0.001, 1.0)
        self.vleak = uniform(self.state_size, -0.2, 0.2)
        self.cm = uniform(self.state_size, 0.4, 0.6)
        self.w = uniform(self.synapse_count, 0.001, 1.0)
        self.sigma = uniform(self.synapse_count, 3.0, 8.0)
        self.mu = uniform(self.synapse_count, 0.3, 0.8)
        polarities = (self.wiring.erev_initializer(), self.wiring.sensory_erev_initializer())
        self.erev = nn.Parameter(self._existing(*(torch.as_tensor(p) for p in polarities)).to(self.w.dtype))
        sides = (("input", input_mapping, self.input_size), ("output", output_mapping, self.output_size))
        for side, mapping, size in sides:
            scale = None if mapping is None else nn.Parameter(torch.ones(size))
            self.register_parameter(f"{side}_w", scale)
            self.register_parameter(f"{side}_b", nn.Parameter(torch.zeros(size)) if mapping == "affine" else None)

    def prepare(self, timed: bool) -> LTCWeights:
        """Positive weights, and the synapses as steps need them."""
        network = Network(self.recurrent, self.sensory, self.ode_unfolds)
        return self._weights(network, laid_out=kernel_of(self.w, network) is None)

    def _weights(self, network: Network, laid_out: bool) -> LTCWeights:
        recompute_weights(self)
        conductance, leak = functional.softplus(self.w), functional.softplus(self.gleak)
        synapses = torch.stack([conductance * self.erev, conductance, self.sigma, self.mu])
        return LTCWeights(
            functional.softplus(self.cm).unsqueeze(-1),
            torch.stack([leak * self.vleak, leak + self.epsilon], dim=1).unsqueeze(-1),
            synapses,
            _lay_out(network, synapses) if laid_out else None,
            network,
        )

    def step(
        self, prepared: LTCWeights, inputs: torch.Tensor, state: torch.Tensor | None, timespans: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One step: the sensory synapses once, then the unfolds."""
        capacity, leak, synapses, tables, network = prepared
        inputs = self._map("input", inputs)
        kernel = kernel_of(synapses, network, len(inputs)) if tables is None else None
        if kernel is not None:  # None, if the weights were prepared before tracing began
            times = None if timespans is None else timespans.unsqueeze(0)
            arguments = (inputs.unsqueeze(0), state, None, times, capacity, leak, synapses)
            state = compiled_sequence(kernel, network, *arguments)[0]
            return self._map("output", state[:, : self.output_size]), state
        recurrent, sensory = tables or _lay_out(network, synapses)
        capacity, leak = capacity.squeeze(-1), leak.permute(1, 2, 0)  # (U,), (2, 1, U)
        dt = 1 / self.ode_unfolds if timespans is None else timespans / self.ode_unfolds
        base = leak + self.sensory.currents(sensory, inputs)  # (2, B, U)
        if state is None:
            state = inputs.new_zeros(inputs.shape[0], self.state_size)
        for _ in range(self.ode_unfolds):
            pull, conductance = (base + self.recurrent.currents(recurrent, state)).unbind(0)
            state = state + dt * (pull - conductance * state) / (capacity + dt * conductance)
        return self._map("output", state[:, : self.output_size]), state

    def sequence(
        self,
        inputs: torch.Tensor,
        state: torch.Tensor | None,
        starts: torch.Tensor | None,
        timespans: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """All steps by :mod:`velora_sb3.cells.kernels.ltc`."""
        steps, batch, _ = inputs.shape
        capacity, leak, synapses, tables, network = self.prepare(timespans is not None)
        inputs = self._map("input", inputs)
        kernel = kernel_of(synapses, network, steps * batch) if tables is None else None
        if kernel is not None:
            arguments = (inputs, state, starts, timespans, capacity, leak, synapses)
            states = compiled_sequence(kernel, network, *arguments)
            return self._map("output", states[..., : self.output_size]), states
        recurrent, sensory = tables or _lay_out(network, synapses)
        if timespans is None:
            dt = inputs.new_full((1, 1, 1), 1 / self.ode_unfolds).expand(steps, 1, 1)
        else:
            dt = timespans.transpose(1, 2) / self.ode_unfolds
        states = ltc_sequence(
            inputs,
            inputs.new_zeros(self.state_size, batch) if state is None else state.t(),
            None if starts is None else starts.transpose(1, 2),
            dt,
            capacity,
            leak,
            (self.recurrent, recurrent),
            (self.sensory, sensory),
            self.ode_unfolds,
        ).transpose(1, 2)
        return self._map("output", states[..., : self.output_size]), states

    def capacity_over_conductance(self, inputs: torch.Tensor, state: torch.Tensor | None) -> torch.Tensor:
        """The liquid time constants ``c / B`` at these inputs and this state.

        Args:
            inputs: ``(B, F)``.
            state: ``(B, U)``; None is the zero state.

        Returns:
            ``(B, U)``, in the environment's time unit.
        """
        network = Network(self.recurrent, self.sensory, self.ode_unfolds)
        capacity, leak, _, tables, _ = self._weights(network, laid_out=True)
        assert tables is not None
        recurrent, sensory = tables
        state = inputs.new_zeros(len(inputs), self.state_size) if state is None else state
        opened = self.sensory.currents(sensory, self._map("input", inputs)) + self.recurrent.currents(recurrent, state)
        return capacity.squeeze(-1) / (leak[:, 1, 0] + opened[1])

    @torch.no_grad()
    def import_ncps(self, cell: Any) -> None:
        """Copy the weights of an ``ncps.torch.LTCCell`` of the same wiring.

        If its positive weights are not softplus of its parameters, they are clipped at 0, as ncps's
        ``apply_weight_constraints`` does, and the inverse softplus is taken.

        Args:
            cell: The ncps cell.
        """
        for name, ours in self.named_parameters():
            theirs = getattr(cell, name)
            if hasattr(cell, f"sensory_{name}"):
                theirs = self._existing(theirs, getattr(cell, f"sensory_{name}"))
            if name in _POSITIVE and not cell._implicit_param_constraints:
                theirs = theirs.clamp(min=torch.finfo(theirs.dtype).tiny)
                theirs = theirs + torch.log(-torch.expm1(-theirs))
            ours.copy_(theirs)

    def _existing(self, recurrent: torch.Tensor, sensory: torch.Tensor) -> torch.Tensor:
        """Of two matrices ``(U, U)`` and ``(F, U)`` the elements where there are synapses, ``(E,)``."""
        masks = (self.wiring.adjacency_matrix, self.wiring.sensory_adjacency_matrix)
        pairs = zip((recurrent, sensory), masks, strict=True)
        return torch.cat([matrix[torch.as_tensor(mask != 0, device=matrix.device)] for matrix, mask in pairs])

    def _map(self, side: str, values: torch.Tensor) -> torch.Tensor:
        scale, shift = getattr(self, f"{side}_w"), getattr(self, f"{side}_b")
        values = values if scale is None else values * scale
        return values if shift is None else values + shift


def _lay_out(network: Network, synapses: torch.Tensor) -> tuple[Synapses, Synapses]:
    """Recurrent and sensory synapses in their tables."""
    recurrent, sensory = torch.split(synapses, [network.recurrent.count, network.sensory.count], dim=1)
    return network.recurrent.lay_out(recurrent), network.sensory.lay_out(sensory)
