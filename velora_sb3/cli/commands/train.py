"""``velora-sb3 train``: train one model on one environment."""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import Any

from velora_sb3._optional import versions
from velora_sb3.cli.experiment.config import CONFIG_FILE, RunConfig
from velora_sb3.cli.options import add_options

PERIODS = ("eval_freq", "checkpoint_every")  # whose default depends on the number of timesteps
EPILOG = """\
examples:
  velora-sb3 train --algo ddpg --env Pendulum-v1
  velora-sb3 train --algo ppo --env CartPole-v1 --policy-kwargs '{"units": 32}'
  velora-sb3 train --algo sac --env Pendulum-v1 --hyperparams sac.yml
  velora-sb3 train --config runs/ddpg-Pendulum-v1-1/config.json
  velora-sb3 train --algo sac --env Pendulum-v1 --run-dir runs/sac --resume-or-start
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
    parser.add_argument(
        "--resume-or-start",
        action="store_true",
        help="resume the run in --run-dir if there is one, else start it; exit with 0 if it is finished: for jobs "
        "that are killed and requeued",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train."""
    from rich.console import Console

    from velora_sb3.cli.errors import UserError
    from velora_sb3.cli.experiment.directory import create_run_directory, lock_run
    from velora_sb3.cli.experiment.launch import check_run, execute, start_learning
    from velora_sb3.cli.tables import print_line, print_summary, warnings_as_lines

    config, console = read_config(args), Console()
    if args.resume_or_start and (stored := read_stored_config(args, config)) is not None:
        return resume_stored(args, stored)
    checked = check_run(config)
    learn = start_learning(config)
    directory = create_run_directory(args.run_dir, config.algo, config.env, may_exist=args.resume_or_start)
    absolute = directory.absolute()  # an environment may change the working directory
    with lock_run(absolute), warnings_as_lines(console):
        if (absolute / CONFIG_FILE).exists():
            raise UserError(f"another process has just started the run in {directory}: repeat the command to resume it")
        try:
            config.save(absolute)
        except OSError as error:
            absolute.rmdir()
            raise UserError(f"cannot write to the run directory {directory}: {error.strerror or error}") from error
        print_line(
            console, f"{config.algo} on {config.env} with {config.policy}, {config.steps:,} steps -> {directory}"
        )
        outcome = execute(learn, config, absolute, checked, console)
    print_summary(console, config, directory, outcome)
    return outcome.exit_code


def read_stored_config(args: argparse.Namespace, config: RunConfig) -> RunConfig | None:
    """The configuration of the run in ``--run-dir``; None if there is none yet. Raises if it is another run."""
    from velora_sb3.cli.errors import UserError
    from velora_sb3.cli.experiment.config import differences, load_config

    if args.run_dir is None:
        raise UserError("--resume-or-start needs --run-dir, the directory of the run to resume or to start")
    if not config.checkpoint_every:
        raise UserError("--resume-or-start needs checkpoints to resume from: omit --checkpoint-every 0")
    directory = Path(args.run_dir)
    if not (directory / CONFIG_FILE).exists():
        if directory.is_dir() and any(not path.name.startswith(".") for path in directory.iterdir()):
            raise UserError(
                f"{directory} contains files but no {CONFIG_FILE}: it is not a run; choose another --run-dir"
            )
        return None
    stored = load_config(directory)
    if args.seed is None and args.config is None:
        config.seed = stored.seed  # it was drawn
    if differing := differences(stored, config):
        raise UserError(
            f"the run in {directory} has other settings: {'; '.join(differing)}. Use its settings, or another --run-dir"
        )
    return stored


def resume_stored(args: argparse.Namespace, config: RunConfig) -> int:
    """Resume a run, start it again if it has no checkpoint yet, or report that it is finished."""
    from rich.console import Console

    from velora_sb3.cli.commands.resume import resume
    from velora_sb3.cli.experiment.directory import read_result
    from velora_sb3.cli.tables import print_line

    directory = Path(args.run_dir)
    result = read_result(directory)
    if result is not None and result["planned_steps"] == config.steps:
        print_line(Console(), f"{config.algo} on {config.env}: finished, {result['steps']:,} steps -> {directory}")
        return 0
    return resume(directory, config, may_start=True)


def read_config(args: argparse.Namespace) -> RunConfig:
    """The run to train: the options, on top of ``--config`` or of the defaults."""
    from velora_sb3.cli.algorithms import find_algorithm
    from velora_sb3.cli.errors import UserError
    from velora_sb3.cli.experiment.config import read_settings
    from velora_sb3.cli.experiment.defaults import default_period, defaults_for
    from velora_sb3.cli.options import given_options

    given = given_options(args, RunConfig)
    mappings = {name: given.pop(name) for name in ("policy_kwargs", "hyperparams") if name in given}
    if "algo" in given:
        given["algo"] = find_algorithm(given["algo"])[0]
    stored = {} if args.config is None else read_settings(Path(args.config))
    if stored and given.get("algo", stored["algo"]) != stored["algo"]:
        raise UserError(
            f"{args.config} is a run of {stored['algo']}, whose settings do not fit {given['algo']}: omit --algo, or "
            f"train {given['algo']} without --config"
        )
    chosen = {**stored, **given}
    if missing := [f"--{name}" for name in ("algo", "env") if name not in chosen]:
        raise UserError(f"train needs {' and '.join(missing)}, or --config (see velora-sb3 train --help)")
    defaults = {**defaults_for(chosen["algo"], chosen["env"]), "seed": random.SystemRandom().randrange(2**31)}
    config = RunConfig(**{**defaults, **chosen, "versions": versions()})
    for name in PERIODS:
        automatic = name not in stored or ("steps" in stored and stored[name] == default_period(stored["steps"]))
        if name not in given and automatic:
            setattr(config, name, default_period(config.steps))
    for name, mapping in mappings.items():
        getattr(config, name).update(mapping)
    if config.metrics is not None:
        config.metrics = str(Path(config.metrics).absolute())  # the run may be resumed from another directory
    return config
