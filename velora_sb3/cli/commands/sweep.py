"""``velora-sb3 sweep``: search hyperparameters with Ray Tune."""

from __future__ import annotations

import argparse
import json
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from velora_sb3.cli.options import check_output, positive

if TYPE_CHECKING:
    from velora_sb3.cli.sweep.sweep_file import Sweep

# Trials stay in the working directory; Ray prints no tables and writes no logs of its own beside ours.
ENVIRONMENT = {"RAY_CHDIR_TO_TRIAL_DIR": "0", "RAY_AIR_NEW_OUTPUT": "0", "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1"}
EPILOG = """\
sweep.yaml:
  algo: ppo
  env: CartPole-v1
  steps: 50000
  policy_kwargs: {units: 32}           # fixed settings, as options of velora-sb3 train
  search:
    learning_rate: {loguniform: [1e-4, 1e-2]}
    gamma: {choice: [0.95, 0.98, 0.99]}
    n_epochs: {int: [4, 20]}
    policy_kwargs: {cell: {choice: [cfc, gru]}}
  trials: 16
  seeds: 2                             # per trial, which is judged by their interquartile mean
  scheduler: asha                      # none, asha, pbt
  searcher: optuna                     # random, optuna
  resources: {cpu: 1}                  # per trial
  time_limit: 2h                       # for the whole sweep

Ctrl-C saves; the same command resumes.
"""
LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # 0: Ray uses the loopback address, as it does by default on Windows


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "sweep",
        help="search hyperparameters, on this machine or a Ray cluster",
        description="Train many models with sampled hyperparameters. Needs the extra `ray`.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="SWEEP_YAML", help="the search, as below")
    parser.add_argument("--sweep-dir", help="the directory of the sweep (default: sweeps/<name of the file>)")
    parser.add_argument(
        "--address", help="address of a running Ray cluster, or auto (default: start Ray on this machine)"
    )
    parser.add_argument("--cpus", type=positive, help="CPUs of this machine to use (default: all)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run or resume a sweep."""
    from velora_sb3._optional import require
    from velora_sb3.cli.errors import UserError

    try:
        require("ray", "velora-sb3 sweep")
    except ImportError as error:
        raise UserError(str(error)) from error
    os.environ.update(ENVIRONMENT)
    if args.address is None:
        os.environ[LOOPBACK] = "0"  # Ray reads it when it is imported
    from rich.console import Console

    from velora_sb3.cli.experiment.directory import lock_run
    from velora_sb3.cli.sweep.outcome import DATABASE, print_results, write_outcome
    from velora_sb3.cli.sweep.sweep_file import read_sweep
    from velora_sb3.cli.sweep.trial import trial_function
    from velora_sb3.cli.tables import print_line, warnings_as_lines
    from velora_sb3.tune.engine import run_sweep
    from velora_sb3.tune.results import FAILED, Results

    if args.address is not None and args.cpus is not None:
        raise UserError("--cpus is for this machine, not for the cluster of --address: omit one of them")
    sweep = read_sweep(Path(args.file))
    shown = Path(args.sweep_dir) if args.sweep_dir else Path("sweeps") / Path(args.file).stem
    directory, console = shown.absolute(), Console()
    check_output("--sweep-dir", shown, directory=True)
    _check_settings(directory, shown, sweep)
    with _ray(args.address, args.cpus, sweep):
        _create(directory, shown, sweep)
        results = Results(directory / DATABASE)
        with lock_run(directory), warnings_as_lines(console):
            file = sweep.file
            seeds = "1 seed" if file.seeds == 1 else f"{file.seeds} seeds"
            kinds = f"{file.trials} trials of {seeds}, {sweep.run.steps:,} steps each"
            print_line(console, f"{file.algo} on {file.env}: {kinds} -> {shown}")
            stopped_by = run_sweep(sweep.plan(), trial_function(sweep, directory / "trials"), directory, results)
            write_outcome(sweep, results, directory)
    print_results(console, sweep, results, shown, stopped_by is not None, resume_command(args))
    if stopped_by is not None:
        return 128 + stopped_by
    trials = results.trials()
    return int(bool(trials) and all(trial.status == FAILED for trial in trials))


def resume_command(args: argparse.Namespace) -> str:
    """The command that resumes this sweep."""
    words = ["velora-sb3", "sweep", args.file]
    for option in ("sweep_dir", "address", "cpus"):
        if (value := getattr(args, option)) is not None:
            words += [f"--{option.replace('_', '-')}", str(value)]
    return shlex.join(words)


def _check_settings(directory: Path, shown: Path, sweep: Sweep) -> None:
    """Raise ``UserError`` if the directory belongs to another sweep or holds something else."""
    from velora_sb3.cli.errors import UserError
    from velora_sb3.cli.sweep.outcome import SWEEP_FILE

    settings, path = _settings(sweep), directory / SWEEP_FILE
    if path.exists():
        stored = json.loads(path.read_text(encoding="utf-8"))
        differing = [key for key in settings if settings[key] != stored.get(key)]
        if differing:
            changes = "; ".join(f"{key} is {stored.get(key)!r} there, got {settings[key]!r}" for key in differing)
            raise UserError(
                f"the sweep in {shown} has other settings: {changes}. Restore them, or use another --sweep-dir"
            )
    elif directory.is_dir() and any(not entry.name.startswith(".") for entry in directory.iterdir()):
        raise UserError(f"{shown} contains files but no {SWEEP_FILE}: use another --sweep-dir")


def _create(directory: Path, shown: Path, sweep: Sweep) -> None:
    """Create the directory with the sweep's settings."""
    from velora_sb3._atomic import write_text
    from velora_sb3.cli.errors import UserError
    from velora_sb3.cli.sweep.outcome import SWEEP_FILE

    try:
        directory.mkdir(parents=True, exist_ok=True)
        write_text(directory / SWEEP_FILE, json.dumps(_settings(sweep), indent=2) + "\n")
    except OSError as error:
        raise UserError(f"cannot write to the sweep directory {shown}: {error.strerror or error}") from error


def _settings(sweep: Sweep) -> dict[str, Any]:
    """The keys of the file, as JSON gives them back."""
    settings: dict[str, Any] = json.loads(json.dumps(asdict(sweep.file)))
    return settings


@contextmanager
def _ray(address: str | None, cpus: int | None, sweep: Sweep) -> Iterator[None]:
    """Ray, started on this machine's loopback address or connected to; checked to have the resources of a trial."""
    import ray

    from velora_sb3.cli.errors import UserError, reason

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    try:
        if address is None:
            local = {"_node_ip_address": "127.0.0.1", "include_dashboard": False, "num_cpus": cpus}
            ray.init(address="local", **local, **quiet)
        else:
            _check_reachable(address)
            ray.init(address=address, **quiet)
    except (OSError, ValueError, RuntimeError) as error:
        where = "Ray does not start" if address is None else f"--address {address}: no Ray cluster there"
        raise UserError(f"{where}: {reason(error)}") from error
    try:
        total = ray.cluster_resources()
        for name, wanted in sweep.resources.items():
            if wanted > (found := total.get(name.upper(), 0)):
                raise UserError(f"resources.{name} is {wanted:g} for each trial, but Ray has {found:g}")
        yield
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raise ``OSError`` if nothing listens at host:port, for which Ray would wait for minutes."""
    import socket

    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=5).close()
