"""The files of a checkpoint: SB3's own, and those that ``resume_training`` needs."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from velora_sb3._normalization import observation_normalizer
from velora_sb3.checkpoints.format.files import KNOWN, MANIFEST
from velora_sb3.checkpoints.moment import Moment
from velora_sb3.checkpoints.save import write_checkpoint


def write_sb3_files(model: BaseAlgorithm, directory: Path, buffer: bool) -> None:
    """Write the files that SB3 itself loads: ``model.zip``, ``vecnormalize.pkl``, ``replay_buffer.pkl``."""
    archive = io.BytesIO()  # SB3 leaves the file open if the disk is full
    model.save(archive)
    (directory / "model.zip").write_bytes(archive.getbuffer())
    normalizer = observation_normalizer(model.get_env())
    if normalizer is not None:
        normalizer.save(str(directory / "vecnormalize.pkl"))
    if buffer and isinstance(model, OffPolicyAlgorithm):
        with (directory / "replay_buffer.pkl").open("wb") as file:
            model.save_replay_buffer(file)


def write_whole_run(
    model: BaseAlgorithm,
    directory: Path,
    *,
    moment: Moment,
    callback: BaseCallback | None,
    buffer: bool,
    custom_objects: Iterable[str],
    metrics: Mapping[str, float],
) -> str | None:
    """Write the files for ``resume_training``; why there are none, if something is not plain data."""
    try:
        write_checkpoint(
            model,
            directory,
            callbacks=callback,
            buffer=buffer,
            custom_objects=custom_objects,
            metrics=metrics,
            moment=moment,
            quiet=True,
        )
    except Exception as error:  # state_dict() of a user's callback may raise anything
        if isinstance(error, OSError) and not isinstance(error, ConnectionError):
            raise  # the disk; a lost connection is that to an environment in another process
        for name in (*KNOWN, MANIFEST):
            (directory / name).unlink(missing_ok=True)
        return str(error) or type(error).__name__
    return None
