"""The folder that is uploaded."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import gymnasium as gym
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from velora_sb3._atomic import write_json, write_text
from velora_sb3._call_env import innermost
from velora_sb3._normalization import kept_with
from velora_sb3.callbacks.base.description import describe_run
from velora_sb3.callbacks.base.naming import env_id, env_name
from velora_sb3.checkpoints import CheckpointError, atomic_directory, write_checkpoint
from velora_sb3.checkpoints.format.files import KNOWN, MANIFEST
from velora_sb3.checkpoints.format.reading import is_checkpoint
from velora_sb3.export import export_onnx
from velora_sb3.hub.card import model_card
from velora_sb3.hub.evaluation import evaluate, evaluation_env, record

CARD, CONFIG, RESULTS, REPLAY, ONNX = "README.md", "config.json", "results.json", "replay.mp4", "onnx"
FILES = frozenset({*KNOWN, MANIFEST, CARD, CONFIG, RESULTS, REPLAY})


def is_ours(name: str) -> bool:
    """Whether a file of a repository is one that :func:`write_folder` writes."""
    return name in FILES or name.startswith(f"{ONNX}/")


def write_folder(
    model: BaseAlgorithm,
    directory: Path,
    repo_id: str,
    *,
    eval_env: gym.Env[Any, Any] | VecEnv | str | None,
    n_eval_episodes: int,
    seed: int | None,
    video: bool,
    onnx: bool,
    buffer: bool,
    custom_objects: Iterable[str],
) -> list[str]:
    """Write the folder, complete or not at all, in place of an earlier one; what to tell the user, such as no video."""
    if model.get_env() is None and kept_with(model) is not None:
        raise CheckpointError(
            "the model was loaded without environments, so that its statistics of VecNormalize are not complete: load "
            "it with env="
        )
    notes: list[str] = []
    with atomic_directory(directory, may_replace=may_replace) as folder:
        write_checkpoint(model, folder, buffer=buffer, custom_objects=custom_objects, model_only=True)
        config, results, source = describe_run(model, []), None, model.get_env()
        if eval_env is None:
            notes += _replay(model, None, folder, seed) if video else []
        else:
            with evaluation_env(model, eval_env) as venv:
                results = evaluate(model, venv, n_eval_episodes, seed)
                write_json(folder / RESULTS, results)
                notes += _replay(model, venv, folder, seed) if video else []
                source = source or venv
                if not config["env"]:
                    config["env"] = {"name": env_name(venv), "id": env_id(venv)}
        write_json(folder / CONFIG, config)
        if onnx:
            space = None if source is None else innermost(source).observation_space
            export_onnx(model, folder / ONNX, observation_space=space)
        files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        write_text(folder / CARD, model_card(model, repo_id, config, results, files))
    return notes


def may_replace(directory: Path) -> bool:
    """Whether a directory is empty, or a model with its card as this package writes it, which training does not."""
    return (is_checkpoint(directory) and (directory / CARD).is_file()) or not any(directory.iterdir())


def _replay(model: BaseAlgorithm, venv: VecEnv | None, folder: Path, seed: int | None) -> list[str]:
    note = record(model, venv, folder / REPLAY, seed)
    return [] if note is None else [note]
