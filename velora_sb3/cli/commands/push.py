"""``velora-sb3 push``: upload a trained model to the Hugging Face Hub."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from velora_sb3.cli.options import add_gym_packages, check_output, integer

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

    from velora_sb3.cli.saved_model import SavedModel

DESCRIPTION = """\
Evaluate a trained model, record it, and upload it to the Hugging Face Hub as a checkpoint that holds no pickle, with a
model card. The repository is created if it does not exist, else it gets a new commit. The folder stays on disk.
It needs a token that may write: set HF_TOKEN, or log in with `hf auth login`.
model.zip contains a pickle, which can run arbitrary code when it is loaded: only push models from people you trust.
"""


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser("push", help="upload a model to the Hugging Face Hub", description=DESCRIPTION)
    parser.add_argument(
        "model", metavar="RUN", help="a run directory, a directory of SaveCheckpoints, a checkpoint, or a model.zip"
    )
    parser.add_argument("repo_id", metavar="REPO_ID", help="the repository, user/name")
    parser.add_argument("--private", action="store_true", help="create a private repository; an error if it is public")
    parser.add_argument("--onnx", action="store_true", help="add the policy as an ONNX file")
    parser.add_argument("--no-video", action="store_true", help="do not record replay.mp4")
    parser.add_argument(
        "--episodes", type=integer(0), default=20, help="number of episodes of the evaluation (default: 20; 0: none)"
    )
    parser.add_argument("--revision", help="branch, created if it does not exist (default: main)")
    parser.add_argument("--dir", type=Path, help="output directory (default: hub in the run directory)")
    parser.add_argument("--message", help="message of the commit")
    parser.add_argument("--best", action="store_true", help="push best_model.zip of a run, not model.zip")
    parser.add_argument("--env", help="Gymnasium id (default: the run's)")
    parser.add_argument("--algo", help="algorithm, if there is no config.json beside the zip")
    add_gym_packages(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Push."""
    import torch

    from velora_sb3._optional import require
    from velora_sb3.checkpoints import CheckpointError
    from velora_sb3.cli.errors import UserError, reason
    from velora_sb3.cli.experiment.environments import import_packages, open_env
    from velora_sb3.cli.saved_model import find_model
    from velora_sb3.hub.client import HubError, check_repo_id
    from velora_sb3.hub.folder import write_folder
    from velora_sb3.hub.push import upload

    try:
        check_repo_id(args.repo_id)
        require("hub", "velora-sb3 push")
        if args.onnx:
            require("onnx", "velora-sb3 push --onnx")
    except (ValueError, ImportError) as error:
        raise UserError(reason(error)) from error
    torch.set_num_threads(1)
    path = Path(args.model).absolute()
    saved = find_model(path, args.best)
    env_id = args.env or (saved.config and saved.config.env)
    if not env_id:
        raise UserError(f"no config.json beside {os.path.relpath(saved.path)} names the environment: pass --env")
    import_packages(args.gym_packages or (saved.config.gym_packages if saved.config else []))
    open_env(env_id).close()
    folder = Path(os.path.relpath(args.dir or (path if path.is_dir() else path.parent) / "hub"))
    check_output("--dir", folder, directory=True)
    try:
        model = _load(saved, env_id, args.algo)
        try:
            notes = write_folder(
                model,
                folder,
                args.repo_id,
                eval_env=env_id if args.episodes else None,
                n_eval_episodes=args.episodes,
                seed=saved.evaluation_seed,
                video=not args.no_video,
                onnx=args.onnx,
                buffer=False,
                custom_objects=(),
            )
        finally:
            if model.env is not None:
                model.env.close()
        print(f"{folder}: {', '.join(sorted(file.name for file in folder.iterdir()))}")
        for note in notes:
            print(note)
        print(
            upload(
                folder,
                args.repo_id,
                private=args.private or None,
                revision=args.revision,
                commit_message=args.message,
            )
        )
    except (HubError, CheckpointError, ImportError, ValueError, TypeError, OSError) as error:
        raise UserError(reason(error)) from error
    return 0


def _load(saved: SavedModel, env_id: str, algo: str | None) -> BaseAlgorithm:
    """The model with its environments, from the checkpoint if there is one: it holds no pickle."""
    import warnings

    from velora_sb3.cli.algorithms import find_algorithm
    from velora_sb3.cli.errors import UserError, reason
    from velora_sb3.cli.experiment.environments import open_vec_env

    config = saved.config
    if saved.has_checkpoint:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the running episodes are not pushed
            return saved.load_checkpoint(open_vec_env(env_id, config.n_envs if config else 1, 0))
    algo = algo or (config.algo if config else None)
    if not algo:
        raise UserError(f"no config.json beside {os.path.relpath(saved.path)} names the algorithm: pass --algo")
    name, algorithm = find_algorithm(algo)
    env = saved.load_normalization(env_id) or open_vec_env(env_id, 1, 0)
    try:
        return algorithm.load(saved.path, env=env, device="cpu")
    except Exception as error:  # unpickling another class or version may raise anything
        raise UserError(
            f"cannot load {saved.path} as a {name} model: {type(error).__name__}: {reason(error)}"
        ) from error
