"""One step of a liquid-resistance liquid-capacitance (LRC) network."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from velora_sb3._validation import check_choice, check_integer
from velora_sb3.cells.cell import LiquidCell, recompute_weights
from velora_sb3.cells.initialization import check_mask, initialize
from velora_sb3.cells.kernels import cpu
from velora_sb3.cells.kernels.lrc import lrc_sequence, next_potential

SOLVERS = ("closed_form", "euler")


class LRCWeights(NamedTuple):
    """An LRC cell's weights, masked, as a step uses them."""

    inputs: torch.Tensor  # (3H, F)
    recurrent: torch.Tensor  # (3H, H)
    bias: torch.Tensor  # (3H,)


class LRCCell(LiquidCell):
    r"""An LRC cell: units whose leak and elastance, and so the rate at which they change, depend on inputs and state.

    With :math:`f, k, u` linear in ``[inputs, state]``, the potentials follow

    .. math::
        \dot v = \sigma(k) \, (e \tanh u - \sigma(f) \, v)

    (``euler``: one explicit Euler step of length :math:`t`, as in the paper, with a parameter :math:`e`). The closed
    form ties the drive to the same liquid rate, so that the state stays within (-1, 1), and solves the equation
    exactly with :math:`f, k, u` held over the step:

    .. math::
        \dot v = r \, (\tanh u - v), \quad r = 2 \, \sigma(f) \, \sigma(k)
        \quad\Rightarrow\quad v' = e^{-r t} v + (1 - e^{-r t}) \tanh u

    A unit with a small rate carries its state over many steps, which a CfC's cannot; the weights of f, k and u are one
    tensor, in that order.

    Args:
        input_size: Number of features ``F``.
        hidden_size: Number of units ``H``; state and output have this width.
        solver: ``closed_form`` or ``euler``, which is unstable where timespans exceed a few units.
        sparsity_mask: ``(F + H, H)``, 0 where there is no synapse.

    Raises:
        ValueError: If an argument is out of range or unknown.

    References:
        Farsang, Neubauer and Grosu (2024), "Liquid Resistance Liquid Capacitance Networks",
        https://arxiv.org/abs/2403.08791; Farsang et al. (2025), https://arxiv.org/abs/2505.21717. Differs from the
        paper: f, k and u are linear in inputs and state, in place of a sigmoid for each synapse; the closed form is
        this package's.
    """

    mask: torch.Tensor | None  # (H, F + H)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        solver: str = "closed_form",
        sparsity_mask: torch.Tensor | None = None,
    ) -> None:
        super().__init__()
        self.input_size = check_integer("input_size", input_size)
        self.state_size = self.output_size = self.hidden_size = check_integer("hidden_size", hidden_size)
        self.solver = check_choice("solver", solver, SOLVERS)
        self.weight_ih = nn.Parameter(torch.empty(3 * self.hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(3 * self.hidden_size, self.hidden_size))
        self.bias = nn.Parameter(torch.empty(3 * self.hidden_size))
        self.reversal = nn.Parameter(torch.ones(self.hidden_size)) if solver == "euler" else None
        mask = None if sparsity_mask is None else check_mask(sparsity_mask, self.input_size, self.hidden_size)
        self.register_buffer("mask", mask)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self, initialization: str = "ncps") -> None:
        """Initialize the weights; biases are 0, so that a unit keeps :math:`e^{-1/2}` of its state for a time unit.

        Args:
            initialization: ``ncps``: one Xavier bound over inputs and state for each of f, k and u. ``orthogonal``:
                inputs as in torch's ``Linear`` of the inputs alone, orthogonal recurrent matrices.
                ``orthogonal_inputs``: as ``ncps``, but for an orthogonal matrix, times 2, for the inputs of each.

        Raises:
            ValueError: For any other initialization.
        """
        initialize([self.weight_ih], [self.weight_hh], self.hidden_size, initialization)
        nn.init.zeros_(self.bias)

    def prepare(self, timed: bool) -> LRCWeights:
        """The weights, masked."""
        recompute_weights(self)
        inputs, recurrent = self.weight_ih, self.weight_hh
        if self.mask is not None:
            mask_ih, mask_hh = self.mask.repeat(3, 1).split([self.input_size, self.hidden_size], dim=1)
            inputs, recurrent = inputs * mask_ih, recurrent * mask_hh
        return LRCWeights(inputs, recurrent, self.bias)

    def step(
        self, prepared: LRCWeights, inputs: torch.Tensor, state: torch.Tensor | None, timespans: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One step; from the zero state (None) without the recurrent product."""
        if self.reversal is None and state is not None and cpu.supports_step(inputs, self.hidden_size):
            timed = None if timespans is None else timespans.unsqueeze(0)
            potential = lrc_sequence(inputs.unsqueeze(0), state, *prepared, None, timed).squeeze(0)
            return potential, potential
        products = self._products(prepared, inputs, state)
        if self.reversal is None:
            potential = next_potential(products, state, timespans)
        else:
            leak, elastance, drive = products.chunk(3, dim=-1)
            change = self.reversal * drive.tanh()
            if state is not None:
                change = change - leak.sigmoid() * state
            change = elastance.sigmoid() * change
            change = change if timespans is None else change * timespans
            potential = change if state is None else state + change
        return potential, potential

    def sequence(
        self,
        inputs: torch.Tensor,
        state: torch.Tensor | None,
        starts: torch.Tensor | None,
        timespans: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """All steps: one fused kernel for the closed form, else step by step."""
        if self.reversal is not None:
            return super().sequence(inputs, state, starts, timespans)
        states = lrc_sequence(inputs, state, *self.prepare(timespans is not None), starts, timespans)
        return states, states

    def rates(self, inputs: torch.Tensor, state: torch.Tensor | None) -> torch.Tensor:
        """The liquid rates at which the potentials decay, at these inputs and this state.

        Args:
            inputs: ``(B, F)``.
            state: ``(B, H)``; None is the zero state.

        Returns:
            ``(B, H)``, per time unit: ``r``, or with the Euler scheme the product of elastance and leak.
        """
        leak, elastance, _ = self._products(self.prepare(False), inputs, state).sigmoid().chunk(3, dim=-1)
        return leak * elastance * (2 if self.reversal is None else 1)

    @staticmethod
    def _products(weights: LRCWeights, inputs: torch.Tensor, state: torch.Tensor | None) -> torch.Tensor:
        products = functional.linear(inputs, weights.inputs, weights.bias)
        return products if state is None else torch.addmm(products, state, weights.recurrent.t())
