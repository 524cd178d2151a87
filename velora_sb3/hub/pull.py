"""Pulling a model."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from velora_sb3.checkpoints import CheckpointError, atomic_directory, load_checkpoint
from velora_sb3.checkpoints.format.files import KNOWN, MANIFEST
from velora_sb3.checkpoints.format.reading import check_files, read_manifest
from velora_sb3.hub.client import HubError, check_repo_id, clear_errors, make_client
from velora_sb3.hub.folder import FILES, ONNX, may_replace


def load_from_hub(
    repo_id: str,
    env: gym.Env[Any, Any] | VecEnv | str | None = None,
    *,
    revision: str | None = None,
    trusted: Iterable[type | str] = (),
    custom_objects: Mapping[str, Any] | None = None,
    device: torch.device | str = "auto",
    token: str | None = None,
) -> BaseAlgorithm:
    """Load a model from the Hugging Face Hub, to predict, or to train if environments are given.

    Loading never opens a pickle, and uses no class that is neither on a fixed list nor trusted. Files are cached as
    the Hub's client does; without a network, a model that is in the cache is loaded from there.

    Args:
        repo_id: The repository, ``user/name``, that :func:`push_to_hub` wrote.
        env: The environments, a single one, or its id; any number. They are wrapped in ``VecNormalize`` with the
            statistics of training if the model was trained under it, and a ``VecNormalize`` that they have gets them.
            None for a model that only predicts: ``StatefulPredictor`` and :mod:`velora_sb3.export` normalize for it.
        revision: Branch, tag or commit; None for ``main``.
        trusted: Further classes that the model may use, or their qualified names: see
            :func:`velora_sb3.load_checkpoint`.
        custom_objects: Constructor arguments by name: those left out by :func:`push_to_hub`, and replacements.
        device: Device of the model.
        token: Token that may read; None for that of ``HF_TOKEN`` or of ``hf auth login``.

    Returns:
        The model.

    Raises:
        HubError: If there is no such repository or revision, no network, or the repository holds no checkpoint of this
            package, such as SB3's zip file alone.
        CheckpointError: If a file is damaged or unsafe, or the environments do not fit.
        ImportError: If the extra ``hub`` is not installed.
    """
    files = _download("load_from_hub", repo_id, revision, token, {*KNOWN, MANIFEST})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        _copy(files, Path(folder))  # the client's cache consists of links, which a checkpoint may not contain
        try:
            return load_checkpoint(folder, env, device=device, trusted=trusted, custom_objects=custom_objects)
        except CheckpointError as error:
            raise CheckpointError(f"{repo_id}: {str(error).replace(f'{folder}/', '')}") from error


def pull_from_hub(
    repo_id: str, directory: str | Path | None = None, *, revision: str | None = None, token: str | None = None
) -> Path:
    """Download a model's checkpoint with its card, video and ONNX file, and verify it; nothing in it is run.

    Args:
        repo_id: The repository, ``user/name``, that :func:`push_to_hub` wrote.
        directory: A new folder, or one of an earlier pull, which is replaced. None for ``name``.
        revision: Branch, tag or commit; None for ``main``.
        token: Token that may read; None for that of ``HF_TOKEN`` or of ``hf auth login``.

    Returns:
        The folder, for :func:`velora_sb3.load_checkpoint`.

    Raises:
        HubError: As :func:`load_from_hub`.
        CheckpointError: If a file is damaged, or the folder holds something else.
        ImportError: If the extra ``hub`` is not installed.
    """
    check_repo_id(repo_id)
    path = Path(repo_id.partition("/")[2]) if directory is None else Path(directory)
    with atomic_directory(path, may_replace=may_replace) as folder:
        _copy(_download("pull_from_hub", repo_id, revision, token, FILES), folder)
        try:
            check_files(read_manifest(folder))
        except CheckpointError as error:
            raise CheckpointError(f"{repo_id}: {str(error).replace(f'{folder}/', '')}") from error
    return path


def _download(
    user: str, repo_id: str, revision: str | None, token: str | None, names: Iterable[str]
) -> dict[str, Path]:
    """Where the client's cache has the files of these names, and those of the ONNX export if all are asked for."""
    check_repo_id(repo_id)
    client = make_client(user, token)
    patterns = [*names, *([f"{ONNX}/*"] if set(names) == FILES else [])]
    with clear_errors("load", repo_id, revision):
        snapshot = Path(client.snapshot_download(repo_id, revision=revision, allow_patterns=patterns))
        if not (snapshot / MANIFEST).is_file():
            raise HubError(_not_ours(repo_id, client.list_repo_files(repo_id, revision=revision)))
    found = [snapshot / name for name in names]
    found += (snapshot / ONNX).glob("*") if set(names) == FILES else []
    return {path.relative_to(snapshot).as_posix(): path for path in found if path.is_file()}


def _copy(files: Mapping[str, Path], folder: Path) -> None:
    for name, path in files.items():
        target = folder / name
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, target)


def _not_ours(repo_id: str, names: list[str]) -> str:
    zips = [name for name in names if name.endswith(".zip")]
    if not zips:
        return f"{repo_id} holds no checkpoint of velora-sb3: push one with push_to_hub"
    return (
        f"{repo_id} holds {zips[0]}, SB3's zip file, and no checkpoint of velora-sb3. The zip file is a pickle, which "
        "can run arbitrary code when it is loaded, so it is not opened here. If you trust its author, load it at your "
        f"own risk: path = huggingface_sb3.load_from_hub({repo_id!r}, {zips[0]!r}), then load(path) of its algorithm"
    )
