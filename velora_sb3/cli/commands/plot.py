"""``velora-sb3 plot``: learning curves of recorded runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from velora_sb3.cli.options import check_output, positive

if TYPE_CHECKING:
    import pandas as pd

DESCRIPTION = """\
Plot the learning curves of the runs in a file that the callback RecordMetrics wrote or is still writing. Runs of one
algorithm on one environment, such as several seeds, become one line: the interquartile mean over the runs, with a 95%
bootstrap interval.
"""
X_AXES = ("timesteps", "episodes", "seconds")
GROUPS = ("algorithm", "env", "run", "seed", "status", "total_timesteps")
FORMATS = (".png", ".svg", ".pdf")


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser("plot", help="plot the learning curves of recorded runs", description=DESCRIPTION)
    parser.add_argument("metrics", metavar="METRICS_DB", help="the file that RecordMetrics wrote")
    parser.add_argument("--run", dest="runs", nargs="+", metavar="RUN", help="names or numbers of runs (default: all)")
    parser.add_argument("--x", choices=X_AXES, default="timesteps", help="the x axis (default: timesteps)")
    parser.add_argument(
        "--smooth",
        type=positive,
        metavar="EPISODES",
        help="episodes to average over (default: a tenth of a run's, at most 100)",
    )
    parser.add_argument(
        "--group-by",
        default="algorithm,env",
        metavar="COLUMNS",
        help=f"columns whose values the runs of a line share, from {', '.join(GROUPS)} (default: algorithm,env; env is "
        "always one of them)",
    )
    parser.add_argument("--out", default="curves.png", help=f"output file, {', '.join(FORMATS)} (default: curves.png)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Plot."""
    from rich.console import Console

    from velora_sb3._optional import install_line, missing_modules
    from velora_sb3.cli.errors import UserError, unknown
    from velora_sb3.cli.tables import print_line
    from velora_sb3.plotting.figures import save_figure
    from velora_sb3.plotting.learning_curves import learning_curves

    if missing_modules("plot"):
        raise UserError(f"plots need matplotlib: {install_line('plot')}")
    group_by = [column.strip() for column in args.group_by.split(",") if column.strip()]
    for column in group_by:
        if column not in GROUPS:
            raise unknown("column to group by", column, GROUPS)
    out = Path(args.out)
    if out.suffix.lower() not in FORMATS:
        raise UserError(f"--out {out}: expected a name that ends in {', '.join(FORMATS)}")
    check_output("--out", out)
    episodes = read_episodes(Path(args.metrics), args.runs)
    figure = learning_curves(episodes, x=args.x, smooth=args.smooth, group_by=group_by)
    try:
        save_figure(figure, out)
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror or error}") from error
    n_runs = episodes["run_id"].nunique()
    print_line(Console(), f"{out}: {_count(n_runs, 'run')}, {_count(len(episodes), 'episode')}")
    return 0


def read_episodes(path: Path, runs: list[str] | None) -> pd.DataFrame:
    """The episodes of some runs."""
    from velora_sb3.cli.errors import UserError, unknown
    from velora_sb3.metrics import load_metrics, load_runs

    if path.is_dir():
        raise UserError(
            f"{path} is a directory: pass the file that RecordMetrics or train --metrics wrote (for a run directory, "
            "use velora-sb3 report)"
        )
    try:
        episodes, known = load_metrics(path), load_runs(path)
    except (OSError, ValueError) as error:
        raise UserError(str(error)) from error
    if runs is None:
        return episodes
    numbers = dict(zip(known["run"], known["run_id"], strict=True))
    by_number = {str(number): number for number in numbers.values()}
    wanted = []
    for run in runs:
        if run not in numbers and run not in by_number:
            raise unknown(f"run in {path}", run, numbers)
        wanted.append(numbers[run] if run in numbers else by_number[run])
    return episodes[episodes["run_id"].isin(wanted)]


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
