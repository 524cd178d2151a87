"""``velora-sb3 doctor``: check the installation."""

from __future__ import annotations

import argparse
from typing import Any


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "doctor",
        help="check the installation",
        description="Print versions and installed extras, and try training, kernels, video and MuJoCo rendering.",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the report."""
    from rich.console import Console

    from velora_sb3._optional import EXTRAS, install_line, missing_modules
    from velora_sb3.cli.commands.doctor_checks import (
        BASE,
        device_line,
        try_kernels,
        try_mujoco,
        try_training,
        try_video,
        version_of,
    )
    from velora_sb3.cli.tables import plain_table, print_line

    console = Console()
    table = plain_table("package", "version")
    for package, found in version_of(BASE).items():
        table.add_row(package, found)
    console.print(table, highlight=False)
    print_line(console, device_line())

    console.print()
    table = plain_table("extra", "", "")
    for extra, modules in EXTRAS.items():
        missing = missing_modules(extra)
        if missing:
            table.add_row(extra, "[yellow]missing[/]", install_line(extra).replace("[", r"\["))
        else:
            table.add_row(extra, "[green]present[/]", ", ".join(modules))
    console.print(table, highlight=False)

    console.print()
    table = plain_table("tried", "", "")
    trained = try_training()
    attempts = [("training", trained), ("compiled kernels", try_kernels())]
    if not missing_modules("video"):
        attempts.append(("video", try_video()))
    if not missing_modules("mujoco"):
        attempts.append(("MuJoCo rendering", try_mujoco()))
    for name, attempt in attempts:
        table.add_row(name, "[green]works[/]" if attempt.works else "[red]fails[/]", attempt.detail.replace("[", r"\["))
    console.print(table, highlight=False)
    return 0 if trained.works else 1
