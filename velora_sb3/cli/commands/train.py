"""``velora-sb3 train``: train one model on one environment."""

from __future__ import annotations

import argparse
import random
from typing import TYPE_CHECKING, Any

from velora_sb3.cli.argument_types import positive, seed, zero_or_more

if TYPE_CHECKING:
    from velora_sb3.cli.experiment.config import RunConfig

TIMES = 20
LEAST_PERIOD = 1_000
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
        description="Train a model; its run directory gets the model, its configuration, curves and a video.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--algo", help="algorithm; `velora-sb3 algos` lists them")
    parser.add_argument("--env", help="gymnasium id of the environment")
    parser.add_argument("--config", help="config.json of a run to repeat; other options change it")
    parser.add_argument("--steps", type=positive, help="timesteps (default: by algorithm and env, else 50,000)")
    parser.add_argument("--policy", help="LiquidPolicy (default), MlpPolicy, ...")
    parser.add_argument("--policy-kwargs", metavar="TEXT_OR_FILE", help="policy arguments, JSON or YAML")
    parser.add_argument(
        "--hyperparams",
        metavar="TEXT_OR_FILE",
        help="the algorithm's constructor arguments, JSON or YAML; also schedules such as lin_0.001, and "
        "noise_type (normal, ornstein-uhlenbeck) with noise_std",
    )
    parser.add_argument("--n-envs", type=positive, help="envs side by side (default: by algorithm and env, else 1)")
    parser.add_argument("--seed", type=seed, help="seed (default: drawn, and written to config.json)")
    parser.add_argument(
        "--eval-freq",
        type=zero_or_more,
        help="timesteps between evaluations (default: a twentieth of --steps, at least 1,000; 0: none)",
    )
    parser.add_argument("--run-dir", help="a new directory (default: runs/<algo>-<env>-<n>)")
    parser.add_argument("--gym-packages", nargs="+", metavar="PACKAGE", help="packages that register envs")
    parser.add_argument("--device", help="auto (default), cpu, cuda")
    parser.add_argument("--threads", type=positive, help="torch's threads (default: 1, best for small networks)")
    parser.add_argument("--video", action=argparse.BooleanOptionalAction, default=True, help="record an episode")
    watching = parser.add_argument_group("watching and stopping")
    watching.add_argument(
        "--target",
        type=float,
        metavar="RETURN",
        help="stop when the evaluations reach this return, or the training episodes if there are no evaluations",
    )
    watching.add_argument("--patience", type=positive, help="how many times in a row (default: 3)")
    watching.add_argument(
        "--checkpoint-every", type=zero_or_more, metavar="EPISODES", help="save checkpoints (default: 0, none)"
    )
    watching.add_argument(
        "--save-every",
        type=zero_or_more,
        metavar="TIMESTEPS",
        help="save what `velora-sb3 resume` goes on from (default: as --eval-freq; 0: never)",
    )
    watching.add_argument(
        "--record-every", type=zero_or_more, metavar="EPISODES", help="record training (default: 0, the end alone)"
    )
    watching.add_argument("--track", choices=["comet", "wandb"], help="report to Comet or to Weights & Biases")
    watching.add_argument("--metrics", metavar="FILE", help="add every episode to this SQLite file")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train."""
    import torch
    from rich.console import Console

    from velora_sb3.cli.errors import UserError
    from velora_sb3.cli.experiment.build_model import build_model
    from velora_sb3.cli.experiment.callbacks import make_early_stopping, make_recorders, make_trackers
    from velora_sb3.cli.experiment.directory import create_run_directory, only_one_at_a_time
    from velora_sb3.cli.experiment.environments import import_packages, open_env, renders_frames
    from velora_sb3.cli.experiment.run import train_model
    from velora_sb3.cli.tables import print_line, print_summary
    from velora_sb3.plotting.learning_curve import why_no_curves
    from velora_sb3.video.record_episode import why_no_video

    config = read_config(args)
    torch.set_num_threads(config.threads)
    import_packages(config.gym_packages)
    env = open_env(config.env)
    video = args.video and renders_frames(env)
    env.close()
    no_video = why_no_video(config.env) if video else None
    if config.record_every and (no_video or not video):
        raise UserError(f"--record-every: {no_video or f'{config.env} does not render pictures'}")
    make_early_stopping(config)  # refuse now, not when the directory is made
    trackers = make_trackers(config)
    model = build_model(config)
    directory = create_run_directory(args.run_dir, config.algo, config.env)

    console = Console()
    print_line(console, f"{config.algo} on {config.env} with {config.policy}, {config.steps:,} steps -> {directory}")
    no_curves = why_no_curves()
    for missing in (no_curves, no_video):  # told before training, not after
        if missing is not None:
            print_line(console, missing)
    watching = [*make_recorders(config, directory), *trackers]

    def learn(callback: Any) -> None:
        model.learn(config.steps, callback=callback)

    config.save(directory)
    with only_one_at_a_time(directory):
        outcome = train_model(learn, config, directory, no_curves is None, video and no_video is None, watching)
    print_summary(console, config, directory, outcome)
    return 130 if outcome.interrupted else 0


def read_config(args: argparse.Namespace) -> RunConfig:
    """What to run: the options, over a configuration to repeat if there is one, over the defaults."""
    from dataclasses import replace
    from pathlib import Path

    from velora_sb3.cli.errors import UserError
    from velora_sb3.cli.experiment.algorithms import find_algorithm
    from velora_sb3.cli.experiment.config import RunConfig, load_config, versions
    from velora_sb3.cli.experiment.defaults import defaults_for
    from velora_sb3.cli.structured_text import read_mapping

    names = (
        *("env", "steps", "policy", "n_envs", "seed", "eval_freq", "gym_packages", "device", "threads"),
        *("target", "patience", "checkpoint_every", "save_every", "record_every", "track", "metrics"),
    )
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if args.algo is not None:
        given["algo"] = find_algorithm(args.algo)[0]

    if args.config is not None:
        config = load_config(Path(args.config))
        if given.get("algo", config.algo) != config.algo:
            raise UserError(
                f"{args.config} is a run of {config.algo}, whose settings are not those of {given['algo']}: leave out "
                f"--algo, or train {given['algo']} without --config"
            )
        other_steps = given.get("steps", config.steps) != config.steps
        config = replace(config, **given, versions=versions())
        if other_steps and args.eval_freq is None and config.eval_freq:
            config.eval_freq = default_period(config.steps)
        if other_steps and args.save_every is None and config.save_every:
            config.save_every = default_period(config.steps)
    else:
        missing = [f"--{name}" for name in ("algo", "env") if name not in given]
        if missing:
            raise UserError(f"train needs {' and '.join(missing)}, or --config (see velora-sb3 train --help)")
        defaults = defaults_for(given["algo"], given["env"])
        defaults["seed"] = random.SystemRandom().randrange(2**31)
        config = RunConfig(**{**defaults, **given})
        if args.eval_freq is None:
            config.eval_freq = default_period(config.steps)
        if args.save_every is None:
            config.save_every = default_period(config.steps)
    if args.policy_kwargs is not None:
        config.policy_kwargs |= read_mapping(args.policy_kwargs, "--policy-kwargs")
    if args.hyperparams is not None:
        config.hyperparams |= read_mapping(args.hyperparams, "--hyperparams")
    return config


def default_period(steps: int) -> int:
    """Timesteps between evaluations, and between checkpoints, if none are asked for.

    They are a twentieth of all, but no fewer than 1,000.
    """
    return max(steps // TIMES, min(steps, LEAST_PERIOD))
