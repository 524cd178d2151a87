"""The callbacks of a run, from its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from velora_sb3.callbacks import (
    CometAnalytics,
    EarlyStopping,
    RecordMetrics,
    RecordVideos,
    SaveCheckpoints,
    VeloraCallback,
    WandbAnalytics,
)
from velora_sb3.cli.errors import UserError, reason
from velora_sb3.cli.experiment.config import RunConfig
from velora_sb3.cli.options import check_output
from velora_sb3.metrics import load_runs

PROJECT = "velora-sb3"
CHECKPOINTS = "checkpoints"  # below the run directory, with a directory for checkpoints and one for videos
KEPT = 2  # checkpoints; the older one in case the newer is damaged


def make_early_stopping(config: RunConfig) -> EarlyStopping | None:
    """The callback that stops the run at its target."""
    if config.target is None:
        return None
    try:
        return EarlyStopping(config.target, patience=config.patience)
    except ValueError as error:
        raise UserError(f"--target: {reason(error)}") from error


def make_trackers(config: RunConfig) -> list[VeloraCallback]:
    """The callback that logs the run to a tracker. It sends and writes nothing before training starts."""
    try:
        if config.track == "comet":
            return [CometAnalytics(PROJECT)]
        if config.track == "wandb":
            return [WandbAnalytics(PROJECT)]
    except (ImportError, ValueError, OSError, RuntimeError) as error:  # RuntimeError: no home directory
        raise UserError(f"--track {config.track}: {reason(error)}") from error
    return []


def check_metrics(config: RunConfig) -> None:
    """Raise unless ``RecordMetrics`` can write to the file of the run."""
    if config.metrics is None:
        return
    path = Path(config.metrics)
    check_output("--metrics", path)
    try:
        if path.exists() and path.stat().st_size:
            load_runs(path)
    except (OSError, ValueError) as error:
        raise UserError(f"--metrics: {reason(error)}") from error


def make_recorders(config: RunConfig, directory: Path, resumed: bool = False) -> list[VeloraCallback]:
    """The callbacks that write videos, episodes and checkpoints to disk."""
    location: dict[str, Any] = {"root": directory, "force": resumed}
    recorders: list[VeloraCallback] = []
    if config.record_every:
        recorders.append(RecordVideos(CHECKPOINTS, frequency=config.record_every, **location))
    if config.metrics is not None:
        recorders.append(RecordMetrics(Path(config.metrics).absolute()))
    if config.checkpoint_every:
        period = config.checkpoint_every
        recorders.append(
            SaveCheckpoints(CHECKPOINTS, every_n_timesteps=period, buffer="resume", keep_last=KEPT, **location)
        )
    return recorders
