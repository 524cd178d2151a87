"""The callbacks that a training run on the command line asks for."""

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

PROJECT = "velora-sb3"
CHECKPOINTS = "checkpoints"  # below the run directory; checkpoints and videos each have a directory in it


def make_early_stopping(config: RunConfig) -> EarlyStopping | None:
    """What stops the run at its target."""
    if config.target is None:
        return None
    try:
        return EarlyStopping(config.target, patience=config.patience)
    except ValueError as error:
        raise UserError(f"--target: {reason(error)}") from error


def make_trackers(config: RunConfig) -> list[VeloraCallback]:
    """What reports the run elsewhere. Nothing is sent or written before training starts."""
    try:
        if config.track == "comet":
            return [CometAnalytics(PROJECT)]
        if config.track == "wandb":
            return [WandbAnalytics(PROJECT)]
    except (ImportError, ValueError) as error:
        raise UserError(f"--track {config.track}: {reason(error)}") from error
    return []


def make_recorders(config: RunConfig, directory: Path, going_on: bool = False) -> list[VeloraCallback]:
    """What writes checkpoints, videos and episodes to disk."""
    places: dict[str, Any] = {"root": directory, "force": going_on}
    recorders: list[VeloraCallback] = []
    if config.checkpoint_every:
        recorders.append(SaveCheckpoints(CHECKPOINTS, frequency=config.checkpoint_every, **places))
    if config.record_every:
        recorders.append(RecordVideos(CHECKPOINTS, frequency=config.record_every, **places))
    if config.metrics is not None:
        recorders.append(RecordMetrics(config.metrics))
    return recorders
