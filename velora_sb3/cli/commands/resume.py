"""``velora-sb3 resume``: continue a run that was killed or interrupted."""

from __future__ import annotations

import argparse
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
        "--video", action=argparse.BooleanOptionalAction, help="record an episode at the end (default: as the run)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Resume."""
    import torch
    from rich.console import Console

    from velora_sb3.checkpoints import CheckpointError, resume_training
    from velora_sb3.cli.errors import UserError
    from velora_sb3.cli.experiment.build_model import check_device
    from velora_sb3.cli.experiment.callbacks import check_metrics, make_recorders, make_trackers
    from velora_sb3.cli.experiment.directory import lock_run
    from velora_sb3.cli.experiment.environments import import_packages, open_env, open_vec_env, renders_frames
    from velora_sb3.cli.experiment.run import train_model
    from velora_sb3.cli.tables import print_line, print_summary, warnings_as_lines
    from velora_sb3.plotting.learning_curve import curves_unavailable_reason
    from velora_sb3.video.record_episode import video_unavailable_reason

    shown, console = Path(args.run_dir), Console()
    directory = shown.absolute()  # an environment may change the working directory
    config = read_config(directory, args.steps)
    config.device = args.device or config.device
    config.video = config.video if args.video is None else args.video
    check_device(config.device)
    torch.set_num_threads(config.threads)
    check_metrics(config)
    import_packages(config.gym_packages)
    env = open_env(config.env)
    video = config.video and renders_frames(env)
    spec = env.unwrapped.spec  # checkpoints store this one; a wrapper may show another
    env_id = spec.id if spec is not None else config.env
    env.close()
    no_curves, no_video = curves_unavailable_reason(), video_unavailable_reason(config.env) if video else None
    with lock_run(directory), warnings_as_lines(console):
        checkpoint, timesteps = find_checkpoint(directory, config, env_id, args.steps)
        callbacks = [*make_recorders(config, directory, resumed=True), *make_trackers(config)]
        config.save(directory)
        print_line(
            console, f"{config.algo} on {config.env}: resuming {shown} at step {timesteps:,} of {config.steps:,}"
        )
        for missing in (no_curves, no_video):
            if missing is not None:
                print_line(console, missing)

        def learn(callback: Any) -> None:
            envs = open_vec_env(config.env, config.n_envs, config.seed)
            total = max(config.steps, timesteps)  # on-policy algorithms finish their rollout, beyond --steps
            resume_training(checkpoint, envs, callback, total_timesteps=total, device=config.device)

        try:
            outcome = train_model(learn, config, directory, no_curves is None, video and no_video is None, callbacks)
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


def find_checkpoint(directory: Path, config: RunConfig, env_id: str, steps: int | None) -> tuple[Path, int]:
    """The checkpoint to resume from, and its timesteps."""
    from velora_sb3.cli.errors import UserError

    checkpoint = newest_resumable(directory)
    if checkpoint is None:
        period = config.checkpoint_every
        reason = f"the first was due after {period:,} steps" if period else "it was started with --checkpoint-every 0"
        raise UserError(
            f"the run in {directory} has no intact checkpoint ({reason}): start it again with velora-sb3 train "
            f"--config {directory / 'config.json'}"
        )
    path, timesteps = checkpoint.manifest.path, checkpoint.manifest.timesteps
    saved = (checkpoint.state.get("environments") or {"envs": []})["envs"]
    if saved and saved[0]["id"] not in (None, env_id):
        raise UserError(
            f"{path} was saved with environment {saved[0]['id']}, but {directory / 'config.json'} names {env_id}"
        )
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
