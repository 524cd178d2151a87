"""Rows of the benchmark of speed: cells beside torch's and ncps's, with ncps's weights, time first."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import ncps.torch
import torch
from ncps.wirings import AutoNCP, FullyConnected, Wiring
from torch import nn

from velora_sb3.benchmarks.speed import Row
from velora_sb3.cells import LRC, LTC, CfC, GRUCell, LiquidCell, unroll

Shape = tuple[int, int, int, int]  # steps, batch, inputs, units
SHAPES: tuple[Shape, ...] = ((64, 32, 16, 64), (128, 8, 16, 64), (1, 1, 16, 64), (64, 32, 64, 256), (128, 4096, 16, 64))
LARGE_BATCH = 512  # from here on only what is fast, and only on a GPU


def _built(wiring: Wiring, inputs: int) -> Wiring:
    wiring.build(inputs)
    return wiring


def _ncp(inputs: int, units: int) -> Wiring:
    return _built(AutoNCP(units, units // 4), inputs)


def _dense_cfc(inputs: int, units: int, **arguments: Any) -> Any:
    return ncps.torch.CfC(inputs, units, backbone_layers=0, backbone_units=0, batch_first=False, **arguments)


def _cfc(inputs: int, units: int) -> dict[str, nn.Module]:
    theirs = _dense_cfc(inputs, units)
    return {"CfC": CfC.from_ncps(theirs), "nn.LSTM": nn.LSTM(inputs, units), "ncps": theirs}


def _lrc(inputs: int, units: int) -> dict[str, nn.Module]:
    return {
        "LRC": LRC(inputs, units, batch_first=False),
        "nn.GRU": nn.GRU(inputs, units),
        "nn.LSTM": nn.LSTM(inputs, units),
    }


class _Unrolled(nn.Module):
    """A cell over a sequence."""

    def __init__(self, cell: LiquidCell) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return unroll(self.cell, inputs)


def _gru(inputs: int, units: int) -> dict[str, nn.Module]:
    return {
        "GRUCell": _Unrolled(GRUCell(inputs, units)),
        "nn.GRU": nn.GRU(inputs, units),
        "nn.LSTM": nn.LSTM(inputs, units),
    }


def _mixed(inputs: int, units: int) -> dict[str, nn.Module]:
    theirs = _dense_cfc(inputs, units, mixed_memory=True)
    return {"CfC, mixed memory": CfC.from_ncps(theirs), "nn.LSTM": nn.LSTM(inputs, units), "ncps": theirs}


def _wired(inputs: int, units: int) -> dict[str, nn.Module]:
    theirs = ncps.torch.CfC(inputs, _ncp(inputs, units), batch_first=False)
    return {"CfC, NCP": CfC.from_ncps(theirs), "nn.LSTM": nn.LSTM(inputs, units), "ncps": theirs}


def _wired_ltc(inputs: int, units: int) -> dict[str, nn.Module]:
    theirs = ncps.torch.LTC(inputs, _ncp(inputs, units), batch_first=False)
    return {"LTC, NCP": LTC.from_ncps(theirs), "nn.LSTM": nn.LSTM(inputs, units), "ncps": theirs}


def _ltc(inputs: int, units: int) -> dict[str, nn.Module]:
    theirs = ncps.torch.LTC(inputs, _built(FullyConnected(units), inputs), batch_first=False)
    return {"LTC": LTC.from_ncps(theirs), "nn.LSTM": nn.LSTM(inputs, units), "ncps": theirs}


NETWORKS: dict[str, Callable[[int, int], dict[str, nn.Module]]] = {
    "CfC": _cfc,
    "LRC": _lrc,
    "GRU": _gru,
    "CfC, mixed memory": _mixed,
    "CfC, NCP": _wired,
    "LTC, NCP": _wired_ltc,
    "LTC": _ltc,
}


def rows(device: str) -> list[Row]:
    """Every cell at every shape, forward only, and forward plus backward."""
    made = []
    for shape in SHAPES:
        steps, batch, inputs, units = shape
        for cell in NETWORKS:
            if ("LTC" in cell and (units > 64 or batch >= LARGE_BATCH)) or (batch >= LARGE_BATCH and device == "cpu"):
                continue
            for name, backward in (("forward", False), ("forward and backward", True)):
                made.append(
                    Row(
                        f"{cell}, {name}, T {steps}, B {batch}, I {inputs}, H {units}",
                        partial(_turns, cell, shape, backward),
                        slowness=5 if "LTC" in cell and steps > 1 else 1,
                        warmup=1 if "LTC" in cell else 3,
                    )
                )
    return made


def _turns(cell: str, shape: Shape, backward: bool, device: str) -> dict[str, Callable[[], object]]:
    steps, batch, features, units = shape
    networks = {name: network.to(device) for name, network in NETWORKS[cell](features, units).items()}
    if batch >= LARGE_BATCH:
        networks.pop("ncps", None)
    inputs = torch.randn(steps, batch, features, device=device)
    return {name: partial(_both if backward else _forward, network, inputs) for name, network in networks.items()}


def _forward(network: nn.Module, inputs: torch.Tensor) -> None:
    with torch.no_grad():
        network(inputs)


def _both(network: nn.Module, inputs: torch.Tensor) -> None:
    network.zero_grad()
    network(inputs)[0].sum().backward()
