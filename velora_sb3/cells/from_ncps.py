"""The arguments and weights of ncps networks, for ``CfC.from_ncps`` and ``LTC.from_ncps``."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from velora_sb3.cells.cfc_cell import ACTIVATIONS, CfCCell
from velora_sb3.cells.ltc_cell import LTCCell
from velora_sb3.cells.mixed_memory import MixedMemoryCell
from velora_sb3.cells.sequence_module import SequenceModule
from velora_sb3.cells.wired_cells import WiredCfCCell


def cfc_arguments(module: Any) -> dict[str, Any]:
    """Arguments of :class:`velora_sb3.cells.CfC` for a network of the module's shape."""
    from ncps.torch import CfC

    _check_source(module, CfC)
    cell, shared = module.rnn_cell, _shared_arguments(module) | {"proj_size": module.proj_size}
    if hasattr(module, "wiring"):
        return {"input_size": cell.sensory_size, "units": module.wiring, "mode": cell.layer_0.mode, **shared}
    linears = [] if cell.backbone is None else [part for part in cell.backbone if isinstance(part, nn.Linear)]
    dropouts = [] if cell.backbone is None else [part for part in cell.backbone if isinstance(part, nn.Dropout)]
    return {
        "input_size": cell.input_size,
        "units": cell.hidden_size,
        "mode": cell.mode,
        "activation": _activation_name(cell.backbone[1]) if linears else "lecun_tanh",
        "backbone_units": linears[0].out_features if linears else 0,
        "backbone_layers": len(linears),
        "backbone_dropout": dropouts[0].p if dropouts else 0.0,
        **shared,
    }


def ltc_arguments(module: Any) -> dict[str, Any]:
    """Arguments of :class:`velora_sb3.cells.LTC` for a network of the module's shape."""
    from ncps.torch import LTC

    _check_source(module, LTC)
    cell = module.rnn_cell
    return {
        "input_size": cell.sensory_size,
        "units": cell._wiring,
        "input_mapping": cell._input_mapping,
        "output_mapping": cell._output_mapping,
        "ode_unfolds": cell._ode_unfolds,
        "epsilon": cell._epsilon,
        **_shared_arguments(module),
    }


def copy_ncps(network: SequenceModule, module: Any) -> None:
    """Copy weights, dtype, device and training mode of an ncps network to one made with its arguments."""
    # ncps keeps masks as parameters, of other dtypes; a user may have frozen the others, too.
    reference = next(parameter for name, parameter in module.named_parameters() if "mask" not in name)
    network.to(device=reference.device, dtype=reference.dtype)
    cell: nn.Module = network.cell
    if isinstance(cell, MixedMemoryCell):
        cell.import_lstm(module.lstm)
        cell = cell.cell
    if isinstance(cell, LTCCell):
        cell.import_ncps(module.rnn_cell)
    elif isinstance(cell, CfCCell):
        _copy_cfc(cell, module.rnn_cell)
    elif isinstance(cell, WiredCfCCell):
        for ours, theirs in zip(cell.layers, module.rnn_cell._layers, strict=True):
            _copy_cfc(ours, theirs)  # type: ignore[arg-type]
    if network.projection is not None:
        network.projection.load_state_dict(module.fc.state_dict())
    network.train(module.training)


def _check_source(module: object, expected: type[nn.Module]) -> None:
    if not isinstance(module, expected):
        raise TypeError(
            f"expected an {expected.__module__}.{expected.__name__}, "
            f"got {type(module).__module__}.{type(module).__name__}"
        )


def _shared_arguments(module: Any) -> dict[str, Any]:
    return {
        "return_sequences": module.return_sequences,
        "batch_first": module.batch_first,
        "mixed_memory": module.use_mixed,
    }


def _activation_name(activation: nn.Module) -> str:
    names = {kind.__name__: name for name, kind in ACTIVATIONS.items()} | {"LeCun": "lecun_tanh"}
    return names[type(activation).__name__]


@torch.no_grad()
def _copy_cfc(ours: CfCCell, theirs: Any) -> None:
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
