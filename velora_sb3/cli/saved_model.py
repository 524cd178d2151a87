"""Trained models on disk: of ``velora-sb3 train``, of ``SaveCheckpoints``, or a zip file alone."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from velora_sb3.checkpoints import load_checkpoint
from velora_sb3.checkpoints.format.errors import CheckpointError
from velora_sb3.checkpoints.format.reading import is_checkpoint, read_manifest
from velora_sb3.cli.errors import UserError, reason
from velora_sb3.cli.experiment.config import CONFIG_FILE, RunConfig, load_config

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecEnv, VecNormalize

MODEL, BEST_MODEL = "model.zip", "best_model.zip"
NORMALIZATION, SAFE_NORMALIZATION = "vecnormalize.pkl", "normalization.json"
DESCRIPTION = "model_config.json"  # of SaveCheckpoints


@dataclass
class SavedModel:
    """A model's zip file and what is known about it.

    Attributes:
        path: The zip file.
        config: The configuration of its run; None if there is none.
    """

    path: Path
    config: RunConfig | None

    @property
    def evaluation_seed(self) -> int:
        """The seed of the evaluation at the end of its run."""
        return 0 if self.config is None else self.config.final_seed

    @property
    def has_checkpoint(self) -> bool:
        """Whether it is the model of a checkpoint, which can be loaded without a pickle."""
        return self.path.name == MODEL and is_checkpoint(self.path.parent)

    def load_checkpoint(self, env: VecEnv | None = None, device: str = "cpu") -> BaseAlgorithm:
        """Load the checkpoint. Its run's cell is trusted; what a checkpoint says of itself, as on the Hub, is not."""
        directory = self.path.parent
        own = any((directory / name).is_file() for name in (CONFIG_FILE, DESCRIPTION))
        trusted = [] if own or self.config is None else self.config.own_classes
        return load_checkpoint(directory, env, device=device, trusted=trusted)

    def load(self, algo: str, device: str = "auto") -> BaseAlgorithm:
        """Load it for inference, without a replay buffer; a checkpoint without a zip file, with its statistics."""
        if self.has_checkpoint and not self.path.is_file():
            try:
                return self.load_checkpoint(device=device)
            except CheckpointError as error:
                raise UserError(str(error)) from error
        from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

        from velora_sb3.cli.algorithms import find_algorithm

        name, algorithm = find_algorithm(algo)
        if not zipfile.is_zipfile(self.path):
            raise UserError(f"{self.path} is not a zip file")
        small: dict[str, Any] = {"buffer_size": 1} if issubclass(algorithm, OffPolicyAlgorithm) else {}
        try:
            return algorithm.load(self.path, device=device, **small)
        except Exception as error:  # unpickling another class or version may raise anything
            raise UserError(
                f"cannot load {self.path} as a {name} model: {type(error).__name__}: {reason(error)}"
            ) from error

    def load_normalization(self, env_id: str) -> VecNormalize | None:
        """The statistics that were saved beside it, around an environment; None if there are none."""
        from stable_baselines3.common.vec_env import VecNormalize

        from velora_sb3.cli.experiment.environments import open_vec_env

        path = self.path.with_name(NORMALIZATION)
        if not path.is_file():
            return None
        try:
            normalization = VecNormalize.load(str(path), open_vec_env(env_id, 1, 0))
        except Exception as error:  # as above
            raise UserError(f"cannot load {path}: {type(error).__name__}: {reason(error)}") from error
        normalization.training = normalization.norm_reward = False
        return normalization


def find_model(path: Path, best: bool = False) -> SavedModel:
    """Find the model in a run directory, in a directory of ``SaveCheckpoints``, in a checkpoint, or a zip file."""
    if not path.exists():
        raise UserError(f"no such file or directory: {path}")
    if best:
        if not (path / BEST_MODEL).is_file():
            raise UserError(f"{path} contains no {BEST_MODEL}: the run was not evaluated, or not by velora-sb3 train")
        found = path / BEST_MODEL
    elif path.is_file():
        found = path
    elif (path / MODEL).is_file() or is_checkpoint(path):  # one from the Hub has no zip file
        found = path / MODEL
    elif checkpoints := [one.parent for one in (path / "saves").glob(f"*/{MODEL}")]:
        found = max(checkpoints, key=_order) / MODEL
    else:
        unfinished = next((one.parents[2] for one in path.glob(f"*/saves/*/{MODEL}")), None)
        mend = f": its run did not finish. For its latest checkpoint, pass {unfinished}" if unfinished else ""
        raise UserError(f"{path} contains no {MODEL}{mend}")
    return SavedModel(found, find_config(found.parent))


def find_config(directory: Path) -> RunConfig | None:
    """The configuration of the run that a directory belongs to."""
    if (directory / CONFIG_FILE).is_file():
        described = is_checkpoint(directory)  # by push_to_hub
        return _from_description(directory / CONFIG_FILE) if described else load_config(directory)
    for place in (directory, *directory.absolute().parents[1:2]):  # a checkpoint is in <dirname>/saves
        if (place / DESCRIPTION).is_file():
            return _from_description(place / DESCRIPTION)
    return None


def _order(checkpoint: Path) -> tuple[int, int, bool]:
    """What orders checkpoints: the manifest's number; without it, timesteps, and of equals the final one last."""
    try:
        number = read_manifest(checkpoint).number
    except CheckpointError:
        number = 0
    try:
        timesteps = int(json.loads((checkpoint / "metadata.json").read_text(encoding="utf-8"))["timesteps"])
    except (OSError, ValueError, KeyError, TypeError):
        timesteps = -1
    return number, timesteps, checkpoint.name.endswith("_final")


def _from_description(path: Path) -> RunConfig:
    """The configuration in the words of ``velora-sb3 train``."""
    from velora_sb3.cli.algorithms import command_name_of

    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        return RunConfig(
            algo=command_name_of(about["algorithm"]["name"]),
            env=about["env"].get("id") or "",
            steps=int(about["total_timesteps"]),
            seed=about["seed"] or 0,
            n_envs=about["env"].get("n_envs", 1),
            policy=about["policy"]["name"] or about["policy"]["class"],
            policy_kwargs=about["policy_kwargs"] or {},
            hyperparams=about["hyperparameters"],
            versions=about["versions"],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is not a description by SaveCheckpoints or push_to_hub: {type(error).__name__}: {error}"
        ) from error
