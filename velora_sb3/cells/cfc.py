"""CfC over sequences."""

from __future__ import annotations

from ncps.wirings import Wiring
from torch import nn

from velora_sb3.cells.cell import LiquidCell
from velora_sb3.cells.cfc_cell import CfCCell
from velora_sb3.cells.from_ncps import cfc_arguments, copy_ncps
from velora_sb3.cells.sequence_module import SequenceModule
from velora_sb3.cells.wired_cells import WiredCfCCell


class CfC(SequenceModule):
    """A closed-form continuous-time network over sequences, with ncps's arguments.

    Args:
        input_size: Number of features.
        units: Number of units, or an ncps wiring (copied).
        proj_size: Width of a linear layer on the outputs; None for none.
        return_sequences: Whether to return the output of every step or only of the last one.
        batch_first: Inputs are ``(B, T, F)``, or ``(T, B, F)`` if False.
        mixed_memory: Whether to put an LSTM memory cell before the cell.
        mode: ``default``, ``no_gate`` or ``pure``.
        activation: The backbone's activation.
        backbone_units: Width of the backbone's layers, 128 if None; not with a wiring.
        backbone_layers: Number of the backbone's layers, 1 if None; not with a wiring.
        backbone_dropout: Dropout between the backbone's layers, 0 if None; not with a wiring.

    Raises:
        ValueError: If an argument is out of range or unknown, or if a backbone is combined with a wiring.

    References:
        Hasani et al. (2022), https://arxiv.org/abs/2106.13898. Differs from ncps: the state is one tensor, timespans
        may be batched, and ``episode_starts`` resets the state within a sequence.
    """

    def __init__(
        self,
        input_size: int,
        units: int | Wiring,
        proj_size: int | None = None,
        return_sequences: bool = True,
        batch_first: bool = True,
        mixed_memory: bool = False,
        mode: str = "default",
        activation: str = "lecun_tanh",
        backbone_units: int | None = None,
        backbone_layers: int | None = None,
        backbone_dropout: float | None = None,
    ) -> None:
        cell: LiquidCell
        if isinstance(units, Wiring):
            backbone = {
                "backbone_units": backbone_units,
                "backbone_layers": backbone_layers,
                "backbone_dropout": backbone_dropout,
            }
            given = [name for name, value in backbone.items() if value is not None]
            if given:
                raise ValueError(
                    f"a wired CfC has no backbone: leave out {', '.join(given)}, or pass a number of units"
                )
            cell = WiredCfCCell(input_size, units, mode)
        else:
            cell = CfCCell(
                input_size,
                units,
                mode,
                activation,
                128 if backbone_units is None else backbone_units,
                1 if backbone_layers is None else backbone_layers,
                0.0 if backbone_dropout is None else backbone_dropout,
            )
        super().__init__(
            cell,
            return_sequences=return_sequences,
            batch_first=batch_first,
            mixed_memory=mixed_memory,
            proj_size=proj_size,
        )

    @classmethod
    def from_ncps(cls, module: nn.Module) -> CfC:
        """The same network as an ``ncps.torch.CfC``, weights included.

        Args:
            module: An ``ncps.torch.CfC``, dense or wired, with or without mixed memory.

        Returns:
            A network that computes the same, in the module's dtype and on its device.

        Raises:
            TypeError: If the module is not an ``ncps.torch.CfC``.
        """
        network = cls(**cfc_arguments(module))
        copy_ncps(network, module)
        return network
