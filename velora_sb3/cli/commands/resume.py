"""``velora-sb3 resume``: go on with a run that was killed or interrupted."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from velora_sb3.cli.argument_types import positive

if TYPE_CHECKING:
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
        help="go on with a run that was killed",
        description="Go on with a run of `velora-sb3 train` that was killed or interrupted, from its newest whole "
        "checkpoint to its end.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run_dir", metavar="RUN_DIR", help="the run's directory")
    parser.add_argument("--steps", type=positive, help="timesteps of the whole run (default: as it was started)")
    parser.add_argument("--device", help="auto, cpu, cuda (default: the run's)")
    parser.add_argument("--video", action=argparse.BooleanOptionalAction, default=True, help="record an episode")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Go on."""
    import torch
    from rich.console import Console

    from velora_sb3.checkpoints import CheckpointError, resume_training
    from velora_sb3.cli.errors import UserError
    from velora_sb3.cli.experiment.build_model import check_device
    from velora_sb3.cli.experiment.callbacks import make_recorders, make_trackers
    from velora_sb3.cli.experiment.directory import only_one_at_a_time
    from velora_sb3.cli.experiment.environments import import_packages, open_env, open_vec_env, renders_frames
    from velora_sb3.cli.experiment.run import train_model
    from velora_sb3.cli.tables import print_line, print_summary, warnings_as_lines
    from velora_sb3.plotting.learning_curve import why_no_curves
    from velora_sb3.video.record_episode import why_no_video

    directory, console = Path(args.run_dir), Console()
    config = read_plan(directory, args.steps)
    config.device = args.device or config.device
    check_device(config.device)
    torch.set_num_threads(config.threads)
    import_packages(config.gym_packages)
    env = open_env(config.env)
    video = args.video and renders_frames(env)
    spec = env.unwrapped.spec  # as checkpoints have it; a wrapper may show the spec of what it was made of
    env_id = spec.id if spec is not None else config.env
    env.close()
    no_curves, no_video = why_no_curves(), why_no_video(config.env) if video else None
    with only_one_at_a_time(directory), warnings_as_lines(console):
        checkpoint, timesteps = find_checkpoint(directory, config, env_id)
        watching = [*make_recorders(config, directory, going_on=True), *make_trackers(config)]
        config.save(directory)
        print_line(
            console, f"{config.algo} on {config.env}: {directory} goes on at step {timesteps:,} of {config.steps:,}"
        )
        for missing in (no_curves, no_video):
            if missing is not None:
                print_line(console, missing)

        def learn(callback: Any) -> None:
            envs = open_vec_env(config.env, config.n_envs, config.seed)
            resume_training(checkpoint, envs, callback, total_timesteps=config.steps, device=config.device)

        try:
            outcome = train_model(learn, config, directory, no_curves is None, video and no_video is None, watching)
        except CheckpointError as error:
            raise UserError(str(error)) from error
    print_summary(console, config, directory, outcome)
    return 130 if outcome.interrupted else 0


def read_plan(directory: Path, steps: int | None) -> RunConfig:
    """What the run was to do, and shall do now."""
    from velora_sb3.cli.errors import UserError
    from velora_sb3.cli.experiment.config import load_config
    from velora_sb3.cli.experiment.directory import read_result

    if not directory.is_dir():
        raise UserError(f"there is no run directory {directory}: name the directory that `velora-sb3 train` wrote")
    config, result = load_config(directory), read_result(directory)
    config.steps = config.steps if steps is None else steps
    if result is not None and result["planned_steps"] == config.steps:
        raise UserError(
            f"the run in {directory} is finished ({result['steps']:,} steps): --steps with a larger number makes it "
            "longer"
        )
    return config


def find_checkpoint(directory: Path, config: RunConfig, env_id: str) -> tuple[Path, int]:
    """The newest whole checkpoint of a run."""
    from velora_sb3.checkpoints import CheckpointError, list_checkpoints, newest_checkpoint
    from velora_sb3.checkpoints.format.reading import open_checkpoint
    from velora_sb3.cli.errors import UserError
    from velora_sb3.cli.experiment.callbacks import CHECKPOINTS
    from velora_sb3.cli.experiment.save_progress import PROGRESS

    places = [place for place in (directory / PROGRESS, directory / CHECKPOINTS) if list_checkpoints(place)]
    if not places:
        when = f"before its first one, due after {config.save_every:,} steps" if config.save_every else "without any"
        raise UserError(
            f"the run in {directory} has no checkpoint yet, it ended {when}: start it again with "
            f"velora-sb3 train --config {directory / 'config.json'}"
        )
    try:
        checkpoint = newest_checkpoint(places[0])
        found = open_checkpoint(checkpoint)
    except CheckpointError as error:
        raise UserError(f"the run in {directory} cannot go on: {error}") from error
    saved = (found.state.get("environments") or {"envs": []})["envs"]
    if saved and saved[0]["id"] not in (None, env_id):
        raise UserError(f"the env of {checkpoint} is {saved[0]['id']}, that of {directory / 'config.json'} is {env_id}")
    if found.manifest.timesteps > config.steps:
        raise UserError(f"--steps {config.steps}: the run is at step {found.manifest.timesteps:,} already")
    return checkpoint, found.manifest.timesteps
