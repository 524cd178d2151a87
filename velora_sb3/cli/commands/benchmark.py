"""``velora-sb3 benchmark``: run a benchmark and print its table."""

from __future__ import annotations

import argparse
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from velora_sb3._optional import install_line, missing_modules
from velora_sb3.cli.options import check_output, positive

DESCRIPTION = """\
Train every candidate on every task over several seeds: each recurrent algorithm with each memory, and MLPs on stacked
frames. Print a Markdown table of returns (interquartile mean, 95% bootstrap interval, worst seed), and draw a picture
of it if matplotlib is installed. Each run is a line in the file given with --out and is not repeated, so an
interrupted benchmark can be continued. The whole suite takes days; --tasks and --only select a part.
"""

SPEED = """\
Time cells, training and acting beside torch's LSTM and GRU, ncps, SB3's MlpPolicy, sb3-contrib's RecurrentPPO and sbx,
if it is installed. The candidates of a row take turns in one process, on one thread. Print a Markdown table: medians,
and how many times as fast ours is.
"""


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    benchmarks = commands.add_parser("benchmark", help="run a benchmark", description="Run a benchmark.")
    names = benchmarks.add_subparsers(dest="benchmark", metavar="NAME", required=True, parser_class=type(benchmarks))
    parser = names.add_parser("suite", help="learning on every task, over several seeds", description=DESCRIPTION)
    parser.add_argument("--seeds", type=positive, default=5, help="seeds 0, 1, ... of each run (default: 5)")
    parser.add_argument("--jobs", type=positive, default=2, help="parallel runs (default: 2)")
    parser.add_argument("--out", type=Path, default=Path("suite.jsonl"), help="file of results (default: suite.jsonl)")
    parser.add_argument("--tasks", nargs="+", metavar="TASK", help="only these tasks")
    parser.add_argument("--only", nargs="+", metavar="CANDIDATE", help="only these candidates")
    parser.add_argument("--list", action="store_true", help="list tasks and candidates, and exit")
    parser.set_defaults(run=run)
    speed = names.add_parser("speed", help="speed beside SB3, sb3-contrib, ncps and sbx", description=SPEED)
    speed.add_argument("--rounds", type=positive, default=15, help="rounds; slow rows take fewer (default: 15)")
    speed.add_argument("--device", default="cpu", help="cpu (default), cuda or cuda:1")
    speed.add_argument("--only", nargs="+", metavar="TEXT", help="only rows whose names contain one of these")
    speed.add_argument("--out", type=Path, help="also append each row to this file, as a line of JSON")
    speed.add_argument("--list", action="store_true", help="list the rows, and exit")
    speed.set_defaults(run=run_speed)
    deploy = names.add_parser(
        "deploy",
        help="latency of deployed policies, in microseconds per step",
        description="Time predict, OnnxPolicy and C, taking turns.",
    )
    deploy.add_argument("--rounds", type=positive, default=31, help="rounds of 50 steps (default: 31)")
    deploy.set_defaults(run=run_deploy)


def run_speed(args: argparse.Namespace) -> int:
    """Time the rows and print each as it is done."""
    import torch

    from velora_sb3.benchmarks import speed, speed_of_cells, speed_of_training
    from velora_sb3.cli.errors import UserError

    device = _device(args.device)
    rows = [*speed_of_cells.rows(device), *speed_of_training.rows(device)]
    rows = [row for row in rows if any(text.lower() in row.name.lower() for text in args.only or [""])]
    if not rows:
        raise UserError(f"no row contains {' or '.join(map(repr, args.only))}: --list shows the rows")
    if args.list:
        print("\n".join(row.name for row in rows))
        return 0
    if args.out is not None:
        check_output("--out", args.out)
        args.out.parent.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    if find_spec("sbx") is None:
        print("sbx is left out, because it is not installed: pip install sbx-rl\n")
    print(f"{speed.machine(device)}\n\n{speed.HEADER}")
    for row in rows:
        values = speed.measure(row, args.rounds, device)
        print(speed.line(row, values), flush=True)
        if args.out is not None:
            found = {"row": row.name, "unit": row.unit, "values": values, "machine": speed.machine(device)}
            with args.out.open("a") as file:
                file.write(json.dumps(found, ensure_ascii=False) + "\n")
    return 0


def _device(name: str) -> str:
    import torch

    from velora_sb3.cli.errors import UserError

    count = torch.cuda.device_count()
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise UserError(f"--device {name}: choose cpu, cuda or cuda:1")
    if device.type == "cuda" and (device.index or 0) >= count:
        raise UserError(f"--device {name}: PyTorch finds {count} CUDA devices: choose another, or cpu")
    return str(device)


def run_deploy(args: argparse.Namespace) -> int:
    """Time the policies and print the table."""
    import torch

    from velora_sb3._optional import require
    from velora_sb3.benchmarks.deployment import latencies, table
    from velora_sb3.cli.errors import UserError, reason

    try:
        require("onnx", "velora-sb3 benchmark deploy")
    except ImportError as error:
        raise UserError(reason(error)) from error
    torch.set_num_threads(1)
    print(table(latencies(args.rounds)))
    return 0


def run(args: argparse.Namespace) -> int:
    """Run what is missing and print the table."""
    from velora_sb3.benchmarks.runs import bars, read_rows, run_missing, table
    from velora_sb3.benchmarks.suite import train
    from velora_sb3.benchmarks.tasks import TASKS
    from velora_sb3.cli.errors import UserError, unknown

    for name in args.tasks or []:
        if name not in TASKS:
            raise unknown("task", name, TASKS)
    every_candidate = [candidate for name in args.tasks or TASKS for candidate in TASKS[name].candidates]
    for name in args.only or []:
        if name not in every_candidate:
            raise unknown("candidate" if args.tasks is None else "candidate of these tasks", name, every_candidate)
    chosen = {
        name: [candidate for candidate in TASKS[name].candidates if candidate in (args.only or every_candidate)]
        for name in args.tasks or TASKS
    }
    if args.list:
        for name, candidates in chosen.items():
            print(f"{name}: {'; '.join(candidates)}")
        return 0
    check_output("--out", args.out)
    try:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        read_rows(args.out)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{args.out} is not a file of results ({error}): choose another with --out") from error
    jobs = [
        (candidate, name, seed)
        for seed in range(args.seeds)
        for name, candidates in chosen.items()
        for candidate in candidates
    ]
    if any(name.startswith("popgym") for name in chosen) and (missing := missing_modules("benchmarks")):
        if args.tasks is not None:
            raise UserError(f"tasks of popgym need {', '.join(missing)}: {install_line('benchmarks')}")
        jobs = [job for job in jobs if not job[1].startswith("popgym")]
        print(f"left out: the tasks of popgym, which need {', '.join(missing)}: {install_line('benchmarks')}")
    try:
        rows = run_missing(train, jobs, args.out, args.jobs)
    except RuntimeError as error:
        raise UserError(str(error)) from error
    for name, candidates in chosen.items():
        print(f"\n{name}\n\n{table(rows, candidates, [name])}")
    if not missing_modules("plot"):
        picture = args.out.with_suffix(".png")
        bars(rows, chosen).savefig(picture, dpi=100)
        print(f"\npicture: {picture}")
    return 0
