"""Pushing a model."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import gymnasium as gym
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from velora_sb3._optional import require
from velora_sb3._validation import check_bool, check_integer
from velora_sb3.hub.client import LOGIN, HubError, check_repo_id, clear_errors, make_client
from velora_sb3.hub.folder import is_ours, write_folder


def push_to_hub(
    model: BaseAlgorithm,
    repo_id: str,
    *,
    eval_env: gym.Env[Any, Any] | VecEnv | str | None = None,
    n_eval_episodes: int = 20,
    seed: int | None = None,
    video: bool = True,
    onnx: bool = False,
    buffer: bool = False,
    custom_objects: Iterable[str] = (),
    private: bool | None = None,
    revision: str | None = None,
    token: str | None = None,
    commit_message: str | None = None,
    directory: str | Path | None = None,
) -> str:
    """Push a model to the Hugging Face Hub, as a checkpoint that holds no pickle, with a model card.

    The folder is written first and stays on disk. It holds the model with its optimizers and the statistics of its
    ``VecNormalize``, and nothing else of the run: neither environments nor logs nor paths. It is uploaded in one
    commit; files of an earlier push that the model no longer has are removed in the same commit.

    Args:
        model: A model of SB3, sb3-contrib or this package.
        repo_id: The repository, ``user/name``. It is created if it does not exist; else it gets a new commit.
        eval_env: Environment to evaluate and record in, or its id. Its observations are normalized by the statistics
            that the model was trained under, unless it has a ``VecNormalize``, which gets them. None: no evaluation,
            and the video is of a copy of the model's environment.
        n_eval_episodes: Number of episodes of the evaluation.
        seed: Seed of the evaluation and of the video.
        video: Whether to record ``replay.mp4``. A warning says if that is impossible.
        onnx: Whether to add the policy as an ONNX file, by :func:`velora_sb3.export.export_onnx`.
        buffer: Whether to add the replay buffer.
        custom_objects: Names of constructor arguments that are not plain data, to leave out; pass them to
            :func:`load_from_hub`.
        private: Whether a new repository is private; None for the default of the account. True raises an error if the
            repository exists and is public.
        revision: Branch, created if it does not exist; None for ``main``.
        token: Token that may write; None for that of ``HF_TOKEN`` or of ``hf auth login``.
        commit_message: Message of the commit.
        directory: The folder; an earlier one is replaced. None for ``hub/user/name``.

    Returns:
        The commit's URL.

    Raises:
        ValueError: If the name is not ``user/name``, ``eval_env`` does not fit, or one of its returns is not finite.
        CheckpointError: If the model is not plain data, or the folder holds something else.
        HubError: If there is no token, no network, or the Hub refuses; the message names the folder.
        ImportError: If the extra ``hub``, or ``onnx``, is not installed.
    """
    check_repo_id(repo_id)
    require("hub", "push_to_hub")
    for name, value in (("video", video), ("onnx", onnx), ("buffer", buffer)):
        check_bool(name, value)
    if onnx:
        require("onnx", "push_to_hub(onnx=True)")
    folder = Path("hub") / repo_id if directory is None else Path(directory)
    notes = write_folder(
        model,
        folder,
        repo_id,
        eval_env=eval_env,
        n_eval_episodes=check_integer("n_eval_episodes", n_eval_episodes),
        seed=seed,
        video=video,
        onnx=onnx,
        buffer=buffer,
        custom_objects=custom_objects,
    )
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return upload(folder, repo_id, private=private, revision=revision, token=token, commit_message=commit_message)


def upload(
    folder: Path,
    repo_id: str,
    *,
    private: bool | None = None,
    revision: str | None = None,
    token: str | None = None,
    commit_message: str | None = None,
) -> str:
    """Upload a folder in one commit: the commit's URL."""
    client = make_client("push_to_hub", token)
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, get_token

    with clear_errors("push to", repo_id, revision, f"; the folder to upload is {folder}"):
        if not (token or get_token()):
            raise HubError(f"no token of the Hub: {LOGIN}")
        client.create_repo(repo_id, private=private, exist_ok=True)
        if private and not client.model_info(repo_id).private:
            raise HubError(f"{repo_id} exists and is public: make it private on its page, or push without private=True")
        if revision is not None:
            client.create_branch(repo_id, branch=revision, exist_ok=True)
        new = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        old = client.list_repo_files(repo_id, revision=revision)
        operations: list[Any] = [CommitOperationAdd(name, path) for name, path in new.items()]
        operations += [CommitOperationDelete(name) for name in old if is_ours(name) and name not in new]
        message = commit_message or "Push a model with velora-sb3"
        commit = client.create_commit(repo_id, operations, commit_message=message, revision=revision)
    return str(commit.commit_url)
