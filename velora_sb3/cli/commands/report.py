"""``velora-sb3 report``: a training run on one HTML page."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from velora_sb3.cli.options import add_gym_packages, check_output, positive

DESCRIPTION = """\
Write an HTML page about a run of `velora-sb3 train`: curves, evaluations, actions, wiring or hidden state, video,
configuration and versions; or about a sweep of `velora-sb3 sweep`: all trials, their curves and settings. The page is
self-contained: it needs no network and no other file. It lists what is missing in the directory.
model.zip contains a pickle, which can run arbitrary code when it is loaded: only report on runs that you trust.
"""
RUN_FILES = ("model.zip", "episodes.csv", "evaluations.csv", "model_config.json")  # many programs write a config.json
FORMATS = (".html", ".htm")


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "report", help="write an HTML page about a run (only report on runs you trust)", description=DESCRIPTION
    )
    parser.add_argument("run_dir", metavar="RUN_DIR", help="a directory of a run, a sweep or SaveCheckpoints")
    parser.add_argument("--best", action="store_true", help="show best_model.zip instead of model.zip")
    parser.add_argument("--out", metavar="FILE", help="output file (default: report.html in the run directory)")
    parser.add_argument("--episodes", type=positive, default=5, help="number of episodes to run (default: 5)")
    add_gym_packages(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the page."""
    from rich.console import Console

    from velora_sb3._atomic import write_text
    from velora_sb3.cli.errors import UserError
    from velora_sb3.cli.experiment.environments import import_packages
    from velora_sb3.cli.report.sections import write_page
    from velora_sb3.cli.sweep.page import is_sweep, sweep_page
    from velora_sb3.cli.tables import print_line

    directory = Path(args.run_dir).absolute()  # an environment may change the working directory
    if not directory.is_dir():
        raise UserError(f"no such directory: {args.run_dir}")
    of_sweep = is_sweep(directory)
    if not of_sweep and not any((directory / name).is_file() for name in RUN_FILES):
        raise UserError(
            f"{args.run_dir} is not a run directory of velora-sb3 train or SaveCheckpoints: it contains none of "
            f"{', '.join(RUN_FILES)}"
        )
    out = Path(args.out) if args.out is not None else Path(args.run_dir) / "report.html"
    if out.suffix.lower() not in FORMATS:
        raise UserError(f"--out {out}: expected a name that ends in {' or '.join(FORMATS)}")
    if not out.parent.is_dir():
        raise UserError(f"--out {out}: no such directory: {out.parent}")
    check_output("--out", out)
    shown, out = out, out.absolute()
    import_packages(args.gym_packages)
    page = sweep_page(directory) if of_sweep else write_page(directory, args.episodes, args.best, args.gym_packages)
    try:
        write_text(out, page.html(_footer()))
    except OSError as error:
        raise UserError(f"cannot write {shown}: {error.strerror or error}") from error
    console = Console()
    print_line(console, f"{shown}: {out.stat().st_size / 2**20:.1f} MiB")
    for missing in page.missing:
        print_line(console, f"not on the page: {missing}")
    return 0


def _footer() -> str:
    from datetime import datetime, timezone

    from velora_sb3 import __version__

    return f"Written by velora-sb3 {__version__} on {datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC."
