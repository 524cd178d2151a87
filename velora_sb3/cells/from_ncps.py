"""Weights of ncps networks, brought into ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from velora_sb3.cells.cfc_cell import ACTIVATIONS, CfCCell
from velora_sb3.cells.mixed_memory import MixedMemoryCell
from velora_sb3.cells.wired_cfc_cell import WiredCfCCell

if TYPE_CHECKING:
    from velora_sb3.cells.cfc import CfC


def check_source(module: nn.Module, expected: type[nn.Module]) -> None:
    """Raise ``TypeError`` unless ``module`` is the ncps class that can be imported."""
    if not isinstance(module, expected):
        raise TypeError(
            f"expected an {expected.__module__}.{expected.__name__}, "
            f"got {type(module).__module__}.{type(module).__name__}"
        )


def import_cfc(target: type[CfC], module: Any) -> CfC:
    """See :meth:`velora_sb3.cells.CfC.from_ncps`."""
    from ncps.torch import CfC as Source

    check_source(module, Source)
    arguments = {
        "proj_size": module.proj_size,
        "return_sequences": module.return_sequences,
        "batch_first": module.batch_first,
        "mixed_memory": module.use_mixed,
    }
    if hasattr(module, "wiring"):
        first = module.rnn_cell.layer_0
        network = target(module.rnn_cell.sensory_size, module.wiring, mode=first.mode, **arguments)
    else:
        cell = module.rnn_cell
        linears = [] if cell.backbone is None else [part for part in cell.backbone if isinstance(part, nn.Linear)]
        dropouts = [] if cell.backbone is None else [part for part in cell.backbone if isinstance(part, nn.Dropout)]
        network = target(
            cell.input_size,
            cell.hidden_size,
            mode=cell.mode,
            activation=_activation_name(cell.backbone[1]) if linears else "lecun_tanh",
            backbone_units=linears[0].out_features if linears else 0,
            backbone_layers=len(linears),
            backbone_dropout=dropouts[0].p if dropouts else 0.0,
            **arguments,
        )
    reference = next(parameter for parameter in module.parameters() if parameter.requires_grad)  # masks are not
    network.to(device=reference.device, dtype=reference.dtype)
    inner: Any = network.cell
    if isinstance(inner, MixedMemoryCell):
        inner.import_lstm(module.lstm)
        inner = inner.cell
    if isinstance(inner, WiredCfCCell):
        for ours, theirs in zip(inner.layers, module.rnn_cell._layers, strict=True):
            _copy_cell(ours, theirs)  # type: ignore[arg-type]
    else:
        _copy_cell(inner, module.rnn_cell)
    if network.projection is not None:
        network.projection.load_state_dict(module.fc.state_dict())
    return network.train(module.training)


def _activation_name(activation: nn.Module) -> str:
    names = {kind.__name__: name for name, kind in ACTIVATIONS.items()} | {"LeCun": "lecun_tanh"}
    return names[type(activation).__name__]


@torch.no_grad()
def _copy_cell(ours: CfCCell, theirs: Any) -> None:
    def gates(kind: str) -> torch.Tensor:
        if theirs.mode == "pure":
            only: torch.Tensor = getattr(theirs.ff1, kind)
            return only
        slope, offset = getattr(theirs.time_a, kind), getattr(theirs.time_b, kind)
        return torch.cat([getattr(theirs.ff1, kind), getattr(theirs.ff2, kind), slope + offset, slope])

    weight, bias = gates("weight"), gates("bias")
    if ours.backbone is not None:
        layers = [part for part in theirs.backbone if isinstance(part, nn.Linear)]
        head: Any = ours.backbone[-1]
        head.weight.copy_(weight)
        head.bias.copy_(bias)
        inner = [part for part in ours.backbone if isinstance(part, nn.Linear)][:-1]
        for target, source in zip(inner, layers[1:], strict=True):
            target.load_state_dict(source.state_dict())
        weight, bias = layers[0].weight, layers[0].bias
    width = len(ours.bias)
    ours.weight_ih.copy_(weight[:width, : ours.input_size])
    ours.weight_hh.copy_(weight[:width, ours.input_size :])
    ours.bias.copy_(bias[:width])
    if ours.has_slope:
        ours.slope_ih.copy_(weight[width:, : ours.input_size])
        ours.slope_hh.copy_(weight[width:, ours.input_size :])
        ours.slope_bias.copy_(bias[width:])
    if ours.w_tau is not None and ours.amplitude is not None:
        ours.w_tau.copy_(theirs.w_tau[0])
        ours.amplitude.copy_(theirs.A[0])
