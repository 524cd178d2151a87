"""LTC over sequences."""

from __future__ import annotations

from typing import Any

from ncps.wirings import FullyConnected, Wiring

from velora_sb3._validation import check_integer
from velora_sb3.cells.from_ncps import copy_ncps, ltc_arguments
from velora_sb3.cells.ltc_cell import LTCCell
from velora_sb3.cells.sequence_module import SequenceModule


class LTC(SequenceModule):
    """A liquid time-constant network over sequences, with ncps's arguments.

    Args:
        input_size: Number of features.
        units: Number of fully connected units, or an ncps wiring (copied).
        return_sequences: Whether to return the output of every step or only of the last one.
        batch_first: Inputs are ``(B, T, F)``, or ``(T, B, F)`` if False.
        mixed_memory: Whether to put an LSTM memory cell before the cell.
        input_mapping: ``affine``, ``linear`` or None: a scale and a shift for each input.
        output_mapping: The same for each output.
        ode_unfolds: Number of solver steps in one time step.
        epsilon: Added to the solver's denominator.

    Raises:
        ValueError: If an argument is out of range or unknown.

    References:
        Hasani et al. (2021), https://arxiv.org/abs/2006.04439. Differs from ncps: the state is one tensor, timespans
        may be batched and 0, ``episode_starts`` resets the state within a sequence, and weights are always kept
        positive by softplus (no ``implicit_param_constraints``).
    """

    def __init__(
        self,
        input_size: int,
        units: int | Wiring,
        return_sequences: bool = True,
        batch_first: bool = True,
        mixed_memory: bool = False,
        input_mapping: str | None = "affine",
        output_mapping: str | None = "affine",
        ode_unfolds: int = 6,
        epsilon: float = 1e-8,
    ) -> None:
        check_integer("input_size", input_size)
        if not isinstance(units, Wiring):
            units = FullyConnected(check_integer("units", units))
        super().__init__(
            LTCCell(units, input_size, input_mapping, output_mapping, ode_unfolds, epsilon),
            return_sequences=return_sequences,
            batch_first=batch_first,
            mixed_memory=mixed_memory,
        )

    @classmethod
    def from_ncps(cls, module: Any) -> LTC:
        """The same network as an ``ncps.torch.LTC``, weights included.

        Args:
            module: An ``ncps.torch.LTC``, with or without mixed memory or implicit constraints.

        Returns:
            A network that computes the same, in the module's dtype and on its device. Without implicit constraints in
            the module, negative weights are clipped at 0.

        Raises:
            TypeError: If the module is not an ``ncps.torch.LTC``.
        """
        network = cls(**ltc_arguments(module))
        copy_ncps(network, module)
        return network
