"""The configuration of a run: what ``train`` takes as options and ``config.json`` stores."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from velora_sb3._atomic import write_text
from velora_sb3._optional import versions
from velora_sb3.cli.errors import UserError
from velora_sb3.cli.experiment.defaults import STEPS
from velora_sb3.cli.options import check_values, option

CONFIG_FILE = "config.json"
MONITORING = "monitoring and stopping"


@dataclass
class RunConfig:
    """All that it takes to repeat a training run.

    A field is declared once: its type, default and metadata make the option of ``velora-sb3 train``, its help, and the
    check of ``config.json``.
    """

    algo: str = option("algorithm; `velora-sb3 algos` lists them")
    env: str = option("Gymnasium id of the environment")
    steps: int = option(f"timesteps (default: depends on algorithm and environment, else {STEPS:,})", least=1)
    seed: int = option("random seed (default: a random one, stored in config.json)", least=0, below=2**31)
    n_envs: int = option(
        "number of environments (default: depends on algorithm and environment, else {default})",
        default=1, least=1,
    )  # fmt: skip
    policy: str = option("{default} (default), MlpPolicy, ...", default="LiquidPolicy")
    policy_kwargs: dict[str, Any] = option(
        "the policy's keyword arguments, as JSON or YAML", default_factory=dict, metavar="TEXT_OR_FILE"
    )
    hyperparams: dict[str, Any] = option(
        "the algorithm's constructor arguments, as JSON or YAML; also schedules such as lin_0.001, and noise_type "
        "(normal, ornstein-uhlenbeck) with noise_std",
        default_factory=dict, metavar="TEXT_OR_FILE",
    )  # fmt: skip
    eval_freq: int = option(
        "timesteps between evaluations (default: a twentieth of --steps, at least 1,000; 0: none)",
        default=0, least=0, metavar="TIMESTEPS",
    )  # fmt: skip
    device: str = option("{default} (default), cpu, cuda", default="auto")
    threads: int = option("number of torch threads (default: {default}, best for small networks)", default=1, least=1)
    gym_packages: list[str] = option(
        "packages to import that register environments", default_factory=list, metavar="PACKAGE"
    )
    target: float | None = option(
        "stop when the evaluations reach this return; without evaluations, the training episodes",
        default=None, metavar="RETURN", group=MONITORING,
    )  # fmt: skip
    patience: int = option(
        "consecutive evaluations or episodes that must reach --target (default: {default})",
        default=3, least=1, group=MONITORING,
    )  # fmt: skip
    checkpoint_every: int = option(
        "timesteps between checkpoints, of which the latest two are kept (default: a twentieth of --steps, at least "
        "1,000; 0: none, and the run cannot be resumed)",
        default=0, least=0, metavar="TIMESTEPS", group=MONITORING,
    )  # fmt: skip
    record_every: int = option(
        "episodes between videos of training (default: {default}, only one at the end)",
        default=0, least=0, metavar="EPISODES", group=MONITORING,
    )  # fmt: skip
    track: str | None = option(
        "log to Comet or Weights & Biases", default=None, choices=("comet", "wandb"), group=MONITORING
    )
    metrics: str | None = option(
        "SQLite file to append every episode to", default=None, metavar="FILE", group=MONITORING
    )
    video: bool = option("record an episode at the end", default=True, group=MONITORING)
    versions: dict[str, str] = field(default_factory=versions)

    @property
    def final_seed(self) -> int:
        """The seed of the evaluation and the video at the end; other episodes than those of training."""
        return self.seed + 2_000

    @property
    def own_classes(self) -> list[str]:
        """The user's own cell, which a checkpoint of the run may name."""
        cell = str(self.policy_kwargs.get("cell", ""))
        return [cell] if ":" in cell or "." in cell else []

    def save(self, directory: Path) -> None:
        """Write ``config.json``."""
        write_text(directory / CONFIG_FILE, json.dumps(asdict(self), indent=2) + "\n")


def load_config(path: Path) -> RunConfig:
    """Read a ``config.json``, given the file or its directory."""
    return RunConfig(**read_settings(path))


def read_settings(path: Path) -> dict[str, Any]:
    """The checked settings in a ``config.json``, given the file or its directory; one written by hand may lack some."""
    try:
        path = path / CONFIG_FILE if path.is_dir() else path
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise UserError(f"{path}: malformed JSON: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} is not a run configuration: expected a JSON object, got {type(values).__name__}")
    return check_values(values, RunConfig, path)


def differences(stored: RunConfig, given: RunConfig) -> list[str]:
    """In which settings a run differs from a stored one, in words; versions do not count."""
    ours, theirs = (json.loads(json.dumps(asdict(config))) for config in (given, stored))
    names = [name for name in ours if name != "versions" and ours[name] != theirs[name]]
    return [f"{name} is {theirs[name]!r} there, got {ours[name]!r}" for name in names]
