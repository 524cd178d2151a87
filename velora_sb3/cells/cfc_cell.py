"""One step of a closed-form continuous-time (CfC) network."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from velora_sb3._validation import check_choice, check_integer, check_number
from velora_sb3.cells.cell import LiquidCell, recompute_weights
from velora_sb3.cells.initialization import check_mask, initialize
from velora_sb3.cells.kernels import cpu
from velora_sb3.cells.kernels.cfc import cfc_sequence
from velora_sb3.cells.kernels.cfc_first_step import cfc_first_step
from velora_sb3.cells.kernels.cfc_gates import MODES, next_state


class LeCunTanh(nn.Module):
    """``1.7159 tanh(0.666 x)``, the backbone's default activation (LeCun 1998, "Efficient BackProp", 4.4)."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Apply the activation elementwise."""
        return 1.7159 * torch.tanh(0.666 * inputs)


ACTIVATIONS: dict[str, type[nn.Module]] = {
    "lecun_tanh": LeCunTanh,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
}


class CfCWeights(NamedTuple):
    """A CfC cell's first layer, masked, as a step uses it."""

    inputs: torch.Tensor  # (J, F)
    recurrent: torch.Tensor  # (J, H)
    bias: torch.Tensor  # (J,)


class CfCCell(LiquidCell):
    """A CfC cell; the equations stand in :mod:`velora_sb3.cells.kernels.cfc_gates`.

    The products of the gates are linear in ``[inputs, state]``, or in the output of a backbone of dense layers.
    The weights of f, g and s are one tensor, in that order; those of a are separate (``slope_…``), because they are
    not used without timespans.

    Args:
        input_size: Number of features ``F``.
        hidden_size: Number of units ``H``; state and output have this width.
        mode: ``default``, ``no_gate`` or ``pure``.
        backbone_activation: ``lecun_tanh``, ``relu``, ``silu``, ``tanh`` or ``gelu``.
        backbone_units: Width of the backbone's layers.
        backbone_layers: Number of the backbone's layers; 0 for no backbone.
        backbone_dropout: Dropout after every backbone layer but the first, in [0, 1).
        sparsity_mask: ``(F + H, H)``, 0 where ``f`` and ``g`` have no connection; only without a backbone.

    Raises:
        ValueError: If an argument is out of range or unknown.

    References:
        Hasani et al. (2022), https://arxiv.org/abs/2106.13898, equation 10 and Figure 3. Differs from ncps: one weight
        tensor for three gates, :math:`s = a + b` in place of :math:`b`, the mask is a buffer, batched timespans
        broadcast over the units.
    """

    mask: torch.Tensor | None  # (3H, F + H), (H, F + H) in pure mode

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        mode: str = "default",
        backbone_activation: str = "lecun_tanh",
        backbone_units: int = 128,
        backbone_layers: int = 1,
        backbone_dropout: float = 0.0,
        sparsity_mask: torch.Tensor | None = None,
    ) -> None:
        super().__init__()
        self.input_size = check_integer("input_size", input_size)
        hidden_size = check_integer("hidden_size", hidden_size)
        check_choice("mode", mode, MODES)
        check_choice("backbone_activation", backbone_activation, ACTIVATIONS)
        self.backbone_layers = check_integer("backbone_layers", backbone_layers, least=0)
        if backbone_layers:
            backbone_units = check_integer("backbone_units", backbone_units)
        check_number("backbone_dropout", backbone_dropout, least=0, below=1)
        self.state_size = self.output_size = self.hidden_size = hidden_size
        self.mode = mode

        blocks = 1 if mode == "pure" else 4  # products that a step needs
        joint = backbone_units if backbone_layers else min(blocks, 3) * hidden_size
        self.weight_ih = nn.Parameter(torch.empty(joint, input_size))
        self.weight_hh = nn.Parameter(torch.empty(joint, hidden_size))
        self.bias = nn.Parameter(torch.empty(joint))
        self.backbone: nn.Sequential | None = None
        if backbone_layers:
            layers: list[nn.Module] = [ACTIVATIONS[backbone_activation]()]
            for _ in range(1, backbone_layers):
                layers += [nn.Linear(backbone_units, backbone_units), ACTIVATIONS[backbone_activation]()]
                if backbone_dropout > 0:
                    layers.append(nn.Dropout(backbone_dropout))
            layers.append(nn.Linear(backbone_units, blocks * hidden_size))
            self.backbone = nn.Sequential(*layers)
        self.has_slope = mode != "pure" and self.backbone is None  # a backbone's last layer holds the slope
        if self.has_slope:
            self.slope_ih = nn.Parameter(torch.empty(hidden_size, input_size))
            self.slope_hh = nn.Parameter(torch.empty(hidden_size, hidden_size))
            self.slope_bias = nn.Parameter(torch.empty(hidden_size))
        self.w_tau = nn.Parameter(torch.zeros(hidden_size)) if mode == "pure" else None
        self.amplitude = nn.Parameter(torch.ones(hidden_size)) if mode == "pure" else None
        self.register_buffer("mask", self._expand(sparsity_mask))
        self.reset_parameters()

    def _expand(self, mask: torch.Tensor | None) -> torch.Tensor | None:
        """The mask of f and g as a mask of f, g and s ``(3H, F + H)``: the gate stays dense, as in ncps."""
        if mask is None:
            return None
        if self.backbone_layers:
            raise ValueError("sparsity_mask needs backbone_layers=0: a backbone is between inputs and units")
        masked = check_mask(mask, self.input_size, self.hidden_size)
        return masked if self.mode == "pure" else torch.cat([masked, masked, torch.ones_like(masked)])

    @torch.no_grad()
    def reset_parameters(self, initialization: str = "ncps") -> None:
        """Initialize the weights.

        Args:
            initialization: ``ncps``: one Xavier bound over inputs and state for each gate, torch's default for biases.
                ``orthogonal``: inputs and biases as in torch's ``Linear`` of the inputs alone, an orthogonal recurrent
                matrix for each gate. Where inputs are few and units many, inputs then move the state much more.
                ``orthogonal_inputs``: as ``ncps``, but for an orthogonal matrix, times 2, for the inputs of each gate.

        Raises:
            ValueError: For any other initialization.

        References:
            Saxe et al. (2014), https://arxiv.org/abs/1312.6120, for orthogonal matrices.
        """
        inputs, recurrent, biases = [self.weight_ih], [self.weight_hh], [self.bias]
        if self.has_slope:
            inputs, recurrent, biases = (
                [*inputs, self.slope_ih],
                [*recurrent, self.slope_hh],
                [*biases, self.slope_bias],
            )
        fan_out = self.weight_ih.shape[0] if self.backbone is not None else self.hidden_size
        initialize(inputs, recurrent, self.hidden_size, initialization, fan_out)
        fan_in = self.input_size + (0 if initialization == "orthogonal" else self.hidden_size)
        for bias in biases:
            nn.init.uniform_(bias, -(fan_in**-0.5), fan_in**-0.5)
        if self.backbone is not None:
            for layer in self.backbone:
                if isinstance(layer, nn.Linear):
                    rows = self.hidden_size if layer is self.backbone[-1] else layer.out_features
                    for block in layer.weight.split(rows):
                        nn.init.xavier_uniform_(block)

    def prepare(self, timed: bool) -> CfCWeights:
        """The first layer's weights, masked; with timespans also those of the gate's slope."""
        recompute_weights(self)
        inputs, recurrent = self.weight_ih, self.weight_hh
        if self.mask is not None:
            mask_ih, mask_hh = self.mask.split([self.input_size, self.hidden_size], dim=1)
            inputs, recurrent = inputs * mask_ih, recurrent * mask_hh
        if not (timed and self.has_slope):
            return CfCWeights(inputs, recurrent, self.bias)
        return CfCWeights(
            torch.cat([inputs, self.slope_ih]),
            torch.cat([recurrent, self.slope_hh]),
            torch.cat([self.bias, self.slope_bias]),
        )

    def step(
        self, prepared: CfCWeights, inputs: torch.Tensor, state: torch.Tensor | None, timespans: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One step; from the zero state (None) without the recurrent product."""
        if state is None and timespans is None and self.mode == "default" and self.backbone is None:
            hidden = cfc_first_step(inputs, prepared.inputs, prepared.bias)
        elif self.has_slope and state is not None and cpu.supports_step(inputs, self.hidden_size):
            timed = None if timespans is None else timespans.unsqueeze(0)
            hidden = cfc_sequence(inputs.unsqueeze(0), state, *prepared, None, timed, self.mode).squeeze(0)
        else:
            products = functional.linear(inputs, prepared.inputs, prepared.bias)
            hidden = self._finish(products, prepared, state, timespans)
        return hidden, hidden

    def sequence(
        self,
        inputs: torch.Tensor,
        state: torch.Tensor | None,
        starts: torch.Tensor | None,
        timespans: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """All steps: one fused kernel, or a loop around the backbone."""
        weights = self.prepare(timespans is not None)
        if self.backbone is None:
            outputs = cfc_sequence(inputs, state, *weights, starts, timespans, self.mode, self.w_tau, self.amplitude)
            return outputs, outputs
        states = []
        for t, products in enumerate(functional.linear(inputs, weights.inputs, weights.bias).unbind(0)):
            if starts is not None and state is not None:
                state = torch.where(starts[t], 0, state)
            state = self._finish(products, weights, state, None if timespans is None else timespans[t])
            states.append(state)
        every_state = torch.stack(states)
        return every_state, every_state

    def products(self, inputs: torch.Tensor, state: torch.Tensor | None, timed: bool) -> torch.Tensor:
        """The products from which :mod:`velora_sb3.cells.kernels.cfc_gates` makes the next state.

        Args:
            inputs: ``(B, F)``.
            state: ``(B, H)``; None is the zero state.
            timed: Whether the gate's slope is needed.

        Returns:
            f, g, s and, if timed, a side by side: ``(B, 3H)`` or ``(B, 4H)``; f alone in ``pure`` mode.
        """
        weights = self.prepare(timed)
        return self._products(functional.linear(inputs, weights.inputs, weights.bias), weights, state, timed)

    def _products(
        self, products: torch.Tensor, weights: CfCWeights, state: torch.Tensor | None, timed: bool
    ) -> torch.Tensor:
        if state is not None:
            products = torch.addmm(products, state, weights.recurrent.t())
        if self.backbone is not None:
            products = self.backbone(products)
            if not timed and self.mode != "pure":
                products = products[:, : 3 * self.hidden_size]
        return products

    def _finish(
        self, products: torch.Tensor, weights: CfCWeights, state: torch.Tensor | None, timespans: torch.Tensor | None
    ) -> torch.Tensor:
        products = self._products(products, weights, state, timespans is not None)
        return next_state(products, timespans, self.mode, self.w_tau, self.amplitude)
