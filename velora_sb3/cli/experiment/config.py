"""All that it takes to repeat a training run, as JSON."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from velora_sb3 import __version__
from velora_sb3._optional import installed_version
from velora_sb3.cli.errors import UserError, suggestion

CONFIG_FILE = "config.json"


@dataclass
class RunConfig:
    """One training run.

    Attributes:
        algo: Name of the algorithm on the command line.
        env: The env's id.
        steps: Timesteps to train for.
        seed: Seed of everything.
        n_envs: Number of envs that step side by side.
        policy: Name of the policy.
        policy_kwargs: Its keyword arguments, plain values.
        hyperparams: The algorithm's constructor arguments, plain values.
        eval_freq: Timesteps between evaluations, 0 for none.
        device: Torch's name of the device.
        threads: Torch's threads; another number can give other weights.
        gym_packages: Packages to import for the env.
        target: Return at which training stops, None for never.
        patience: How many times in a row it must be reached.
        checkpoint_every: Episodes between checkpoints, 0 for none.
        save_every: Timesteps between the checkpoints that ``velora-sb3 resume`` goes on from, 0 for none.
        record_every: Episodes between videos, 0 for the one at the end alone.
        track: ``comet``, ``wandb``, or None.
        metrics: The file that gets every episode, None for none.
        versions: Versions of Python and of the packages that trained.
    """

    algo: str
    env: str
    steps: int
    seed: int
    n_envs: int = 1
    policy: str = "LiquidPolicy"
    policy_kwargs: dict[str, Any] = field(default_factory=dict)
    hyperparams: dict[str, Any] = field(default_factory=dict)
    eval_freq: int = 0
    device: str = "auto"
    threads: int = 1
    gym_packages: list[str] = field(default_factory=list)
    target: float | None = None
    patience: int = 3
    checkpoint_every: int = 0
    save_every: int = 0
    record_every: int = 0
    track: str | None = None
    metrics: str | None = None
    versions: dict[str, str] = field(default_factory=lambda: versions())

    def save(self, directory: Path) -> None:
        """Write ``config.json``."""
        partial = directory / f".{CONFIG_FILE}.partial"
        partial.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        partial.replace(directory / CONFIG_FILE)


def load_config(path: Path) -> RunConfig:
    """Read a ``config.json``."""
    path = path / CONFIG_FILE if path.is_dir() else path
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise UserError(f"{path}: malformed JSON: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} is no run's {CONFIG_FILE}: expected an object, got {type(values).__name__}")
    known = {attribute.name: attribute for attribute in fields(RunConfig)}
    for name in values:
        if name not in known:
            raise UserError(f"{path}: unknown entry {name!r}: {suggestion(name, known)}it holds {', '.join(known)}")
    for name in ("algo", "env", "steps", "seed"):
        if name not in values:
            raise UserError(f"{path} is no run's {CONFIG_FILE}: it has no {name!r}")
    _check_types(values, path)
    return RunConfig(**values)


def _check_types(values: dict[str, Any], path: Path) -> None:
    kinds: dict[str, Any] = {
        "algo": str, "env": str, "policy": str, "device": str, "steps": int, "seed": int, "n_envs": int,
        "eval_freq": int, "threads": int, "policy_kwargs": dict, "hyperparams": dict, "gym_packages": list,
        "versions": dict, "target": float | int | None, "patience": int, "checkpoint_every": int, "save_every": int,
        "record_every": int, "track": str | None, "metrics": str | None,
    }  # fmt: skip
    lowest = {
        "steps": 1, "seed": 0, "n_envs": 1, "eval_freq": 0, "threads": 1, "patience": 1, "checkpoint_every": 0,
        "save_every": 0, "record_every": 0,
    }  # fmt: skip
    for name, value in values.items():
        if not isinstance(value, kinds[name]) or isinstance(value, bool):
            kind = getattr(kinds[name], "__name__", str(kinds[name]))
            raise UserError(f"{path}: {name} must be of type {kind}, got {value!r}")
        if isinstance(value, int) and value < lowest.get(name, value):
            raise UserError(f"{path}: {name} must be at least {lowest[name]}, got {value}")


def versions() -> dict[str, str]:
    """Versions of what decides how a run goes."""
    found = {"python": platform.python_version(), "velora-sb3": __version__}
    for package in ("torch", "stable-baselines3", "sb3-contrib", "gymnasium", "numpy"):
        found[package] = installed_version(package) or "unknown"
    return found
