"""Kernels: ours beside torch's LSTM and ncps, in turns in one process on one thread.

``python -m tests.benchmarks.cells`` prints the tables of docs/benchmarks.md. ``--device cuda`` measures a GPU.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Callable

import ncps.torch
import torch
from ncps.wirings import AutoNCP, FullyConnected
from torch import nn

from velora_sb3.benchmarks.timing import time_in_turns, verdict
from velora_sb3.cells import LRC, LTC, CfC

SHAPES = [(64, 32, 16, 64), (128, 8, 16, 64), (1, 1, 16, 64), (64, 32, 64, 256)]


def networks(inputs: int, units: int, with_ltc: bool) -> dict[str, nn.Module]:
    """Networks with the same weights on both sides, time first."""
    layout = {"batch_first": False}
    ncp = AutoNCP(units, units // 4)
    ncp.build(inputs)
    dense = ncps.torch.CfC(inputs, units, backbone_layers=0, backbone_units=0, **layout)
    mixed = ncps.torch.CfC(inputs, units, backbone_layers=0, backbone_units=0, mixed_memory=True, **layout)
    wired = ncps.torch.CfC(inputs, ncp, **layout)
    found: dict[str, nn.Module] = {
        "nn.LSTM": nn.LSTM(inputs, units),
        "ncps CfC": dense,
        "CfC": CfC.from_ncps(dense),
        "ncps CfC, mixed": mixed,
        "CfC, mixed": CfC.from_ncps(mixed),
        "ncps CfC, NCP": wired,
        "CfC, NCP": CfC.from_ncps(wired),
        "nn.GRU": nn.GRU(inputs, units),
        "LRC": LRC(inputs, units, **layout),
    }
    if with_ltc:
        ltc = ncps.torch.LTC(inputs, ncp, **layout)
        full = FullyConnected(units)
        full.build(inputs)
        dense_ltc = ncps.torch.LTC(inputs, full, **layout)
        found |= {
            "ncps LTC, NCP": ltc,
            "LTC, NCP": LTC.from_ncps(ltc),
            "ncps LTC": dense_ltc,
            "LTC": LTC.from_ncps(dense_ltc),
        }
    return found


def measure(
    shape: tuple[int, int, int, int], backward: bool, rounds: int, device: str, only: str = ""
) -> dict[str, float]:
    """Milliseconds of one pass through each network."""
    steps, batch, features, units = shape
    inputs = torch.randn(steps, batch, features, device=device)

    def action(network: nn.Module) -> Callable[[], object]:
        def forward() -> None:
            with torch.no_grad():
                network(inputs)

        def both() -> None:
            network.zero_grad()
            network(inputs)[0].sum().backward()

        def synchronised() -> None:
            (both if backward else forward)()
            if device != "cpu":
                torch.cuda.synchronize()

        return synchronised

    with_ltc = units < 256 and steps > 1
    found = {name: net for name, net in networks(features, units, with_ltc).items() if only in name}
    fast = {name: action(network.to(device)) for name, network in found.items() if "LTC" not in name}
    slow = {name: action(network.to(device)) for name, network in found.items() if "LTC" in name}
    seconds = time_in_turns(fast, rounds) if fast else {}
    if slow:
        seconds |= time_in_turns(slow, max(3, rounds // 5), warmup=1)
    return {name: 1e3 * value for name, value in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--ltc-alone", action="store_true", help="nothing but the LTCs with an NCP wiring")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    name = torch.cuda.get_device_name() if arguments.device != "cpu" else platform.processor() or platform.machine()
    print(f"torch {torch.__version__}, {name}, one thread, float32, ms: forward / forward and backward\n")

    if arguments.ltc_alone:
        times = measure(SHAPES[0], True, 5 * arguments.rounds, arguments.device, only="LTC, NCP")
        print({name: round(value, 1) for name, value in times.items()})
        print(verdict("ncps LTC, NCP / LTC, NCP", times["ncps LTC, NCP"] / times["LTC, NCP"], 6, at_least=True))
        return

    table: dict[tuple[int, int, int, int], dict[str, tuple[float, float]]] = {}
    for shape in SHAPES:
        forward = measure(shape, False, arguments.rounds, arguments.device)
        both = measure(shape, True, arguments.rounds, arguments.device)
        table[shape] = {network: (forward[network], both[network]) for network in forward}
    columns = list(table[SHAPES[0]])
    print("| T, B, I, H | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for shape, row in table.items():
        cells = [f"{row[c][0]:.2f} / {row[c][1]:.2f}" if c in row else "" for c in columns]
        print("| " + ", ".join(map(str, shape)) + " | " + " | ".join(cells) + " |")

    both = {network: times[1] for network, times in table[SHAPES[0]].items()}
    print("\nAt T, B, I, H = 64, 32, 16, 64, forward and backward:")
    print(verdict("ncps CfC / CfC", both["ncps CfC"] / both["CfC"], 1.8, at_least=True))
    print(verdict("CfC / nn.LSTM", both["CfC"] / both["nn.LSTM"], 2.3, at_least=False))
    print(f"LRC / nn.GRU: {both['LRC'] / both['nn.GRU']:.2f}")
    print(verdict("ncps CfC, mixed / CfC, mixed", both["ncps CfC, mixed"] / both["CfC, mixed"], 1.8, at_least=True))
    print(verdict("ncps CfC, NCP / CfC, NCP", both["ncps CfC, NCP"] / both["CfC, NCP"], 4, at_least=True))
    print(verdict("ncps LTC, NCP / LTC, NCP", both["ncps LTC, NCP"] / both["LTC, NCP"], 6, at_least=True))


if __name__ == "__main__":
    main()
