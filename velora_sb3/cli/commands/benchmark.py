"""``velora-sb3 benchmark``: run a benchmark again and print its table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from velora_sb3.cli.options import positive

DESCRIPTION = """\
Do the recurrent algorithms remember? Trains every candidate of every task over seeds and prints a Markdown table of
returns: interquartile mean, 95 % bootstrap interval, worst seed. Every run is one line of the file given with --out;
what it holds is not run again, so an interrupted benchmark goes on. The whole takes hours; --tasks and --only choose.
"""


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    benchmarks = commands.add_parser("benchmark", help="run a benchmark again", description="Run a benchmark again.")
    names = benchmarks.add_subparsers(dest="benchmark", metavar="NAME", required=True, parser_class=type(benchmarks))
    parser = names.add_parser("memory", help="tasks that need memory, over seeds", description=DESCRIPTION)
    parser.add_argument("--seeds", type=positive, default=5, help="seeds 0, 1, ... of each run (default: 5)")
    parser.add_argument("--jobs", type=positive, default=2, help="runs side by side (default: 2)")
    parser.add_argument(
        "--out", type=Path, default=Path("memory.jsonl"), help="file of results (default: memory.jsonl)"
    )
    parser.add_argument("--tasks", nargs="+", metavar="TASK", help="some tasks only")
    parser.add_argument("--only", nargs="+", metavar="CANDIDATE", help="some candidates only")
    parser.add_argument("--list", action="store_true", help="print tasks and candidates, run nothing")
    parser.add_argument("--speed", action="store_true", help="measure steps per second instead, in turns")
    parser.add_argument("--rounds", type=positive, default=9, help="rounds of --speed (default: 9)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run what is missing, print the table."""
    import torch

    from velora_sb3.benchmarks.memory import speeds, train
    from velora_sb3.benchmarks.memory_tasks import TASKS
    from velora_sb3.benchmarks.runs import read_rows, run_missing, table
    from velora_sb3.cli.errors import UserError, unknown

    every_candidate = [name for task in TASKS.values() for name in task.candidates]
    for kind, wanted, known in (("task", args.tasks, list(TASKS)), ("candidate", args.only, every_candidate)):
        for name in wanted or []:
            if name not in known:
                raise unknown(kind, name, known)
    if args.speed:
        torch.set_num_threads(1)
        for name, speed in speeds(args.rounds).items():
            print(f"{name}: {speed:.0f} steps/s")
        return 0
    chosen = {
        name: [candidate for candidate in TASKS[name].candidates if candidate in (args.only or every_candidate)]
        for name in args.tasks or TASKS
    }
    if args.list:
        for name, candidates in chosen.items():
            print(f"{name}: {'; '.join(candidates)}")
        return 0
    try:
        read_rows(args.out)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{args.out} is no file of results ({error}): give another with --out") from error
    jobs = [
        (candidate, name, seed)
        for seed in range(args.seeds)
        for name, candidates in chosen.items()
        for candidate in candidates
    ]
    rows = run_missing(train, jobs, args.out, args.jobs)
    for name, candidates in chosen.items():
        print(f"\n{name}\n\n{table(rows, candidates, [name])}")
    return 0
