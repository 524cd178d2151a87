"""What ``train`` and ``resume`` share: checks before anything is written, and the run itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from stable_baselines3.common.callbacks import BaseCallback

from velora_sb3.callbacks import VeloraCallback
from velora_sb3.checkpoints import resume_training
from velora_sb3.cli.errors import UserError
from velora_sb3.cli.experiment.build_model import build_model
from velora_sb3.cli.experiment.callbacks import check_metrics, make_early_stopping, make_recorders, make_trackers
from velora_sb3.cli.experiment.config import RunConfig
from velora_sb3.cli.experiment.environments import import_packages, open_env, open_vec_env, renders_frames
from velora_sb3.cli.experiment.run import Learn, Outcome, train_model
from velora_sb3.cli.tables import print_line
from velora_sb3.plotting.learning_curve import curves_unavailable_reason
from velora_sb3.video.record_episode import video_unavailable_reason


@dataclass
class Checked:
    """What can be told about a run before it starts.

    Attributes:
        env_id: The environment's id in checkpoints; that of ``config.json`` may be another one.
        curves: Whether learning curves can be drawn.
        video: Whether a video can be recorded.
        notes: Why not.
        trackers: The callback that logs to a tracker.
    """

    env_id: str
    curves: bool
    video: bool
    notes: list[str]
    trackers: list[VeloraCallback]


def check_run(config: RunConfig) -> Checked:
    """Raise ``UserError`` for what would fail later. Writes nothing."""
    torch.set_num_threads(config.threads)
    import_packages(config.gym_packages)
    env = open_env(config.env)
    video = config.video and renders_frames(env)
    spec = env.unwrapped.spec  # checkpoints store this one; a wrapper may show another
    env.close()
    no_video = video_unavailable_reason(config.env) if video else None
    if config.record_every and not config.video:
        raise UserError("--no-video turns off the videos of --record-every, too: leave one of them out")
    if config.record_every and (no_video or not video):
        raise UserError(f"--record-every: {no_video or f'{config.env} does not render images'}")
    check_metrics(config)
    make_early_stopping(config)
    no_curves = curves_unavailable_reason()
    return Checked(
        env_id=config.env if spec is None else spec.id,
        curves=no_curves is None,
        video=video and no_video is None,
        notes=[reason for reason in (no_curves, no_video) if reason is not None],
        trackers=make_trackers(config),
    )


def start_learning(config: RunConfig) -> Learn:
    """Build the model of a run, and return its ``learn``."""
    model = build_model(config)
    return lambda callback: model.learn(config.steps, callback=callback)


def resume_learning(config: RunConfig, checkpoint: Path, timesteps: int) -> Learn:
    """The ``learn`` of a run that resumes from a checkpoint at some timestep."""
    total = max(config.steps, timesteps)  # on-policy algorithms finish their rollout, beyond --steps

    def learn(callback: BaseCallback) -> None:
        envs = open_vec_env(config.env, config.n_envs, config.seed)
        settings: dict[str, Any] = {"total_timesteps": total, "device": config.device, "trusted": config.own_classes}
        resume_training(checkpoint, envs, callback, **settings)

    return learn


def execute(
    learn: Learn, config: RunConfig, directory: Path, checked: Checked, console: Console, *, overwrite: bool = False
) -> Outcome:
    """Train and fill the run directory."""
    for note in checked.notes:
        print_line(console, note)
    recorders = [*make_recorders(config, directory, overwrite), *checked.trackers]
    return train_model(learn, config, directory, checked.curves, checked.video, recorders)
