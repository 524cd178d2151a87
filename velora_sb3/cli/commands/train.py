"""``velora-sb3 train``: train one model on one environment."""

from __future__ import annotations

import argparse
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

from velora_sb3._optional import versions
from velora_sb3.cli.experiment.config import RunConfig
from velora_sb3.cli.options import add_options

PERIODS = ("eval_freq", "checkpoint_every")  # whose default depends on the number of timesteps
EPILOG = """\
examples:
  velora-sb3 train --algo ddpg --env Pendulum-v1
  velora-sb3 train --algo ppo --env CartPole-v1 --policy-kwargs '{"units": 32}'
  velora-sb3 train --algo sac --env Pendulum-v1 --hyperparams sac.yml
  velora-sb3 train --config runs/ddpg-Pendulum-v1-1/config.json
"""


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "train",
        help="train a model",
        description="Train a model and write it to a run directory, with its configuration, learning curve and video.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser, RunConfig)
    parser.add_argument("--config", metavar="FILE", help="config.json of a run to repeat; other options override it")
    parser.add_argument("--run-dir", help="a new directory for the run (default: runs/<algo>-<env>-<n>)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train."""
    import torch
    from rich.console import Console

    from velora_sb3.cli.errors import UserError
    from velora_sb3.cli.experiment.build_model import build_model
    from velora_sb3.cli.experiment.callbacks import check_metrics, make_early_stopping, make_recorders, make_trackers
    from velora_sb3.cli.experiment.directory import create_run_directory, lock_run
    from velora_sb3.cli.experiment.environments import import_packages, open_env, renders_frames
    from velora_sb3.cli.experiment.run import train_model
    from velora_sb3.cli.tables import print_line, print_summary, warnings_as_lines
    from velora_sb3.plotting.learning_curve import curves_unavailable_reason
    from velora_sb3.video.record_episode import video_unavailable_reason

    config = read_config(args)
    torch.set_num_threads(config.threads)
    import_packages(config.gym_packages)
    env = open_env(config.env)
    video = config.video and renders_frames(env)
    env.close()
    no_video = video_unavailable_reason(config.env) if video else None
    if config.record_every and (no_video or not video):
        raise UserError(f"--record-every: {no_video or f'{config.env} does not render images'}")
    check_metrics(config)
    make_early_stopping(config)  # raises before the directory is created
    trackers = make_trackers(config)
    model = build_model(config)
    directory = create_run_directory(args.run_dir, config.algo, config.env)
    absolute = directory.absolute()  # an environment may change the working directory
    try:
        config.save(absolute)
    except OSError as error:
        absolute.rmdir()
        raise UserError(f"cannot write to the run directory {directory}: {error.strerror or error}") from error

    console = Console()
    print_line(console, f"{config.algo} on {config.env} with {config.policy}, {config.steps:,} steps -> {directory}")
    no_curves = curves_unavailable_reason()
    for missing in (no_curves, no_video):
        if missing is not None:
            print_line(console, missing)
    callbacks = [*make_recorders(config, absolute), *trackers]

    def learn(callback: Any) -> None:
        model.learn(config.steps, callback=callback)

    with lock_run(absolute), warnings_as_lines(console):
        outcome = train_model(learn, config, absolute, no_curves is None, video and no_video is None, callbacks)
    print_summary(console, config, directory, outcome)
    return outcome.exit_code


def read_config(args: argparse.Namespace) -> RunConfig:
    """The run to train: the options, on top of ``--config`` or of the defaults."""
    from velora_sb3.cli.algorithms import find_algorithm
    from velora_sb3.cli.errors import UserError
    from velora_sb3.cli.experiment.config import load_config
    from velora_sb3.cli.experiment.defaults import default_period, defaults_for
    from velora_sb3.cli.options import given_options

    given = given_options(args, RunConfig)
    mappings = {name: given.pop(name) for name in ("policy_kwargs", "hyperparams") if name in given}
    if "algo" in given:
        given["algo"] = find_algorithm(given["algo"])[0]
    if args.config is not None:
        before = load_config(Path(args.config))
        if given.get("algo", before.algo) != before.algo:
            raise UserError(
                f"{args.config} is a run of {before.algo}, whose settings do not fit {given['algo']}: omit --algo, or "
                f"train {given['algo']} without --config"
            )
        config = replace(before, **given, versions=versions())
        to_set = [name for name in PERIODS if config.steps != before.steps and getattr(before, name)]
    else:
        missing = [f"--{name}" for name in ("algo", "env") if name not in given]
        if missing:
            raise UserError(f"train needs {' and '.join(missing)}, or --config (see velora-sb3 train --help)")
        defaults = {**defaults_for(given["algo"], given["env"]), "seed": random.SystemRandom().randrange(2**31)}
        config = RunConfig(**{**defaults, **given})
        to_set = list(PERIODS)
    for name in to_set:
        if name not in given:
            setattr(config, name, default_period(config.steps))
    for name, mapping in mappings.items():
        getattr(config, name).update(mapping)
    if config.metrics is not None:
        config.metrics = str(Path(config.metrics).absolute())  # the run may be resumed from another directory
    return config
