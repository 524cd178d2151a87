"""``velora-sb3 resume``: continue a run that was killed or interrupted."""

from __future__ import annotations

import argparse
import shlex
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from velora_sb3.cli.options import positive

if TYPE_CHECKING:
    from velora_sb3.checkpoints.format.reading import Checkpoint
    from velora_sb3.cli.experiment.config import RunConfig

EPILOG = """\
examples:
  velora-sb3 resume runs/ddpg-Pendulum-v1-1
  velora-sb3 resume runs/ddpg-Pendulum-v1-1 --steps 40000
"""


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "resume",
        help="continue a run that was killed or interrupted",
        description="Continue a run of `velora-sb3 train` that was killed or interrupted, from its latest intact "
        "checkpoint.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run_dir", metavar="RUN_DIR", help="the run's directory")
    parser.add_argument("--steps", type=positive, help="total timesteps of the run (default: as before)")
    parser.add_argument("--device", help="auto, cpu, cuda (default: the run's)")
    parser.add_argument(
        "--video", action=argparse.BooleanOptionalAction, help="record an episode at the end (default: as the run did)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Resume."""
    directory = Path(args.run_dir)
    config = read_config(directory.absolute(), args.steps)
    config.device = args.device or config.device
    config.video = config.video if args.video is None else args.video
    return resume(directory, config, args.steps)


def resume(shown: Path, config: RunConfig, steps: int | None = None, may_start: bool = False) -> int:
    """Resume a run, whose ``steps`` may be new; without a checkpoint, start it again or raise. The exit code."""
    from rich.console import Console

    from velora_sb3.checkpoints import CheckpointError
    from velora_sb3.cli.errors import UserError
    from velora_sb3.cli.experiment.build_model import check_device
    from velora_sb3.cli.experiment.directory import lock_run
    from velora_sb3.cli.experiment.launch import check_run, execute, resume_learning, start_learning
    from velora_sb3.cli.tables import print_line, print_summary, warnings_as_lines

    directory, console = shown.absolute(), Console()  # an environment may change the working directory
    check_device(config.device)
    checked = check_run(config)
    with lock_run(directory), warnings_as_lines(console):
        checkpoint = find_checkpoint(directory, config, checked.env_id, steps)
        if checkpoint is not None:
            learn, how = resume_learning(config, *checkpoint), f"resuming {shown} at step {checkpoint[1]:,}"
        elif may_start:
            learn, how = start_learning(config), f"no checkpoint yet, starting {shown} again"
        else:
            raise no_checkpoint(directory, config)
        config.save(directory)
        print_line(console, f"{config.algo} on {config.env}: {how} of {config.steps:,}")
        try:
            outcome = execute(learn, config, directory, checked, console, overwrite=True)
        except CheckpointError as error:
            raise UserError(str(error)) from error
    print_summary(console, config, shown, outcome)
    return outcome.exit_code


def read_config(directory: Path, steps: int | None) -> RunConfig:
    """The configuration of an unfinished run, or of one that ``steps`` makes longer."""
    from velora_sb3.cli.errors import UserError
    from velora_sb3.cli.experiment.config import load_config
    from velora_sb3.cli.experiment.directory import read_result

    if not directory.is_dir():
        raise UserError(f"no run directory {directory}: pass a directory that `velora-sb3 train` wrote")
    config, result = load_config(directory), read_result(directory)
    config.steps = config.steps if steps is None else steps
    if result is not None and result["planned_steps"] == config.steps:
        raise UserError(
            f"the run in {directory} is finished ({result['steps']:,} steps): pass a larger --steps to extend it"
        )
    return config


def no_checkpoint(directory: Path, config: RunConfig) -> Exception:
    """The error for a run without a checkpoint."""
    from velora_sb3.cli.errors import UserError

    period = config.checkpoint_every
    reason = f"the first was due after {period:,} steps" if period else "it was started with --checkpoint-every 0"
    return UserError(
        f"the run in {directory} has no intact checkpoint ({reason}): start it again with velora-sb3 train "
        f"--config {shlex.quote(str(directory / 'config.json'))}"
    )


def find_checkpoint(directory: Path, config: RunConfig, env_id: str, steps: int | None) -> tuple[Path, int] | None:
    """The checkpoint to resume from, and its timesteps; None if there is none."""
    from velora_sb3.cli.algorithms import find_algorithm
    from velora_sb3.cli.errors import UserError

    checkpoint = newest_resumable(directory)
    if checkpoint is None:
        return None
    path, timesteps = checkpoint.manifest.path, checkpoint.manifest.timesteps
    saved = (checkpoint.state.get("environments") or {"envs": []})["envs"]
    if saved and saved[0]["id"] not in (None, env_id):
        raise UserError(
            f"{path} was saved with environment {saved[0]['id']}, but {directory / 'config.json'} names {env_id}"
        )
    algorithm = checkpoint.state["algorithm"].rpartition(".")[2]
    if algorithm != find_algorithm(config.algo)[1].__name__:
        raise UserError(f"{path} is of {algorithm}, but {directory / 'config.json'} names {config.algo}")
    if steps is not None and timesteps > steps:
        raise UserError(f"--steps {steps}: the run has already reached step {timesteps:,}")
    return path, timesteps


def newest_resumable(directory: Path) -> Checkpoint | None:
    """The newest intact checkpoint of a run.

    For an unfinished run, one in which no episode is lost comes first: the final checkpoint of a run that failed was
    taken in the middle of a rollout and cannot be resumed exactly.
    """
    from velora_sb3.checkpoints import CheckpointError, list_checkpoints
    from velora_sb3.checkpoints.format.reading import open_checkpoint
    from velora_sb3.cli.experiment.callbacks import CHECKPOINTS
    from velora_sb3.cli.experiment.directory import read_result

    finished, newest = read_result(directory) is not None, None
    for manifest in list_checkpoints(directory / CHECKPOINTS):
        try:
            checkpoint = open_checkpoint(manifest.path)
        except CheckpointError as error:
            warnings.warn(f"skipped a damaged checkpoint: {error}", stacklevel=2)
            continue
        if finished or checkpoint.state["episodes_lost"] is None:
            return checkpoint
        newest = newest or checkpoint
    return newest
