"""Torch's layers in C."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from sb3_contrib.common.torch_layers import BatchRenorm
from torch import nn

from velora_sb3.cells.cfc_cell import LeCunTanh
from velora_sb3.export.c.program import Program, literal

SPARSE_BELOW = 0.66  # share of synapses; an index is half as long as a weight

# Activations by their layers: the function, and its arguments after the number of elements.
ACTIVATIONS: dict[type[nn.Module], tuple[str, Callable[[Any], tuple[float, ...]]]] = {
    nn.Tanh: ("apply_tanh", lambda layer: ()),
    nn.ReLU: ("apply_relu", lambda layer: ()),
    nn.LeakyReLU: ("apply_leaky_relu", lambda layer: (layer.negative_slope,)),
    nn.ELU: ("apply_elu", lambda layer: (layer.alpha,)),
    nn.Sigmoid: ("apply_sigmoid", lambda layer: ()),
    nn.SiLU: ("apply_silu", lambda layer: ()),
    nn.Hardtanh: ("apply_clip", lambda layer: (layer.min_val, layer.max_val)),
    nn.ReLU6: ("apply_clip", lambda layer: (0.0, 6.0)),
    LeCunTanh: ("apply_lecun_tanh", lambda layer: ()),
}


def emit_layers(program: Program, module: nn.Module, source: str, size: int) -> tuple[str, int]:
    """Emit a stack of layers.

    Args:
        program: The program.
        module: The layers.
        source: Name of the array of their inputs, which they may overwrite.
        size: Number of inputs.

    Returns:
        Name and size of their outputs.

    Raises:
        ValueError: If C knows no such layer.
    """
    for layer in _flat(module):
        kind = type(layer)
        if kind is nn.Linear:
            source, size = emit_linear(program, layer.weight, layer.bias, source), layer.out_features
        elif kind in ACTIVATIONS:
            function, arguments = ACTIVATIONS[kind]
            program.call(function, size, *(literal(number) for number in arguments(layer)), source)
        elif kind is nn.GELU and layer.approximate == "none":
            program.call("apply_gelu", size, source)
        elif kind is nn.Softplus and (layer.beta, layer.threshold) == (1, 20):
            program.call("apply_softplus", size, source)
        elif isinstance(layer, BatchRenorm | nn.BatchNorm1d):
            factor, shift = _affine(layer)
            program.call(
                "scale", size, program.floats("factor", factor), program.floats("shift", shift), source, source
            )
        elif kind is nn.LayerNorm and layer.normalized_shape == (size,):
            weight = layer.weight if layer.weight is not None else torch.ones(size)
            bias = layer.bias if layer.bias is not None else torch.zeros(size)
            constants = program.floats("factor", weight), program.floats("shift", bias)
            program.call("layer_norm", size, literal(layer.eps), *constants, source)
        elif kind not in (nn.Identity, nn.Dropout, nn.Flatten):
            raise unknown(layer)
    return source, size


def emit_linear(
    program: Program, weight: torch.Tensor, bias: torch.Tensor | None, source: str, target: str | None = None
) -> str:
    """Emit a dense layer; returns the name of its outputs."""
    outputs = len(weight)
    target = target or program.buffer("layer", outputs)
    program.call("fill_zero", outputs, target)
    add_product(program, weight, None, source, target)
    if bias is not None:  # last, since small products would be rounded away beside a large one
        program.call("add", outputs, program.floats("bias", bias), target)
    return target


def add_product(program: Program, weight: torch.Tensor, mask: torch.Tensor | None, source: str, target: str) -> None:
    """Add a matrix product ``weight @ source`` to ``target``; of a masked matrix only what the mask leaves."""
    outputs, inputs = weight.shape
    kept = torch.ones_like(weight, dtype=torch.bool) if mask is None else mask != 0
    if mask is None or kept.float().mean() > SPARSE_BELOW:
        program.call("add_linear", inputs, outputs, program.floats("weights", (weight * kept).t()), source, target)
        return
    counts = kept.sum(dim=1).numpy()
    starts = program.indices("starts", np.concatenate([[0], np.cumsum(counts)]))
    sources = program.indices("sources", kept.nonzero()[:, 1].numpy())
    weights = program.floats("weights", weight[kept])
    program.call("add_sparse", outputs, starts, sources, weights, source, target)


def unknown(part: object) -> ValueError:
    """The error for a part that C does not know."""
    return ValueError(
        f"{type(part).__module__}.{type(part).__qualname__} cannot be written in C: export to ONNX, or use layers and "
        "cells that the page Deploy lists"
    )


def _flat(module: nn.Module) -> Iterator[Any]:
    if type(module) is nn.Sequential:
        for layer in module:
            yield from _flat(layer)
    else:
        yield module


def _affine(layer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Factor and shift of a normalization by running statistics."""
    if isinstance(layer, BatchRenorm):
        mean, variance, affine = layer.ra_mean, layer.ra_var, layer.affine
        weight, bias = (layer.scale, layer.bias) if affine else (None, None)
    else:
        mean, variance, weight, bias = layer.running_mean, layer.running_var, layer.weight, layer.bias
    if not isinstance(mean, torch.Tensor) or not isinstance(variance, torch.Tensor):
        raise unknown(layer)
    factor = 1 / torch.sqrt(variance.double() + layer.eps)
    factor = factor if weight is None else factor * weight.double()
    shift = -mean.double() * factor
    return factor.float(), (shift if bias is None else shift + bias.double()).float()
