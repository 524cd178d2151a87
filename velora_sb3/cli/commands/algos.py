"""``velora-sb3 algos``: the algorithms and their capabilities."""

from __future__ import annotations

import argparse
from typing import Any

LETTERS = {"Box": "B", "Discrete": "D", "MultiDiscrete": "MD", "MultiBinary": "MB"}


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "algos",
        help="list the algorithms",
        description="List the algorithms with their policies, action spaces and memory.",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print a table for each kind of memory."""
    from rich.console import Console
    from rich.table import Table

    from velora_sb3.cli.algorithms import ALIASES, action_spaces, algorithms, memory_kinds
    from velora_sb3.cli.tables import plain_table, print_line
    from velora_sb3.policies import ALIAS

    tables: dict[str, Table] = {}
    for name, algorithm in algorithms().items():
        table = tables.setdefault(" or ".join(memory_kinds(algorithm)), plain_table("algorithm", "policy", "actions"))
        letters = " ".join(LETTERS[space] for space in action_spaces(algorithm))
        table.add_row(name, algorithm.policy_aliases[ALIAS].__name__, letters)
    console = Console()
    for memory, table in tables.items():
        print_line(console, f"{ALIAS} is {memory}:")
        console.print(table, highlight=False)
        print_line(console, "")
    print_line(console, "actions: " + ", ".join(f"{letters} {space}" for space, letters in LETTERS.items()))
    print_line(console, "reactive:  one step from the zero state; no memory")
    print_line(console, "windowed:  a history in the observation (FrameStackObservation, VecFrameStack)")
    print_line(console, "recurrent: a hidden state is carried from step to step")
    print_line(console, "also known as: " + ", ".join(f"{alias} = {name}" for alias, name in ALIASES.items()))
    return 0
