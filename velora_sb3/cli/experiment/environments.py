"""Environments by their gymnasium ids."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import gymnasium as gym
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.utils import check_for_correct_spaces
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from velora_sb3._headless import prepare_rendering
from velora_sb3._validation import SIMILAR
from velora_sb3.cli.errors import UserError, reason


def import_packages(names: Sequence[str]) -> None:
    """Import the packages that register environments, installed or in the working directory."""
    for name in names:
        if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
            raise UserError(f"--gym-packages takes module names such as my_envs, got {name!r}")
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            where = f"; it is neither installed nor in {Path.cwd()}" if name.startswith(str(error.name)) else ""
            raise UserError(f"--gym-packages {name}: {reason(error)}{where}") from error
        except ImportError as error:
            raise UserError(f"--gym-packages {name}: {reason(error)}") from error
        except (Exception, SystemExit) as error:  # the user's module may raise anything
            raise UserError(f"--gym-packages {name}: {type(error).__name__}: {reason(error)}") from error


def open_env(env_id: str, **kwargs: Any) -> gym.Env[Any, Any]:
    """Make one environment."""
    prepare_rendering()
    try:
        return gym.make(env_id, **kwargs)
    except gym.error.DependencyNotInstalled as error:
        raise UserError(f"env {env_id!r} needs a package that is not installed: {reason(error)}") from error
    except ImportError as error:
        raise UserError(f"env {env_id!r} cannot be imported: {reason(error)}") from error
    except gym.error.Error as error:
        hint = _similar(env_id)
        raise UserError(
            f"unknown env {env_id!r}: {hint or reason(error).partition(' Did you mean')[0] + ' '}"
            "(use --gym-packages for a package that registers environments)"
        ) from error
    except Exception as error:  # the environment's constructor may raise anything
        raise UserError(f"env {env_id!r} cannot be created: {type(error).__name__}: {reason(error)}") from error


def _similar(env_id: str) -> str:
    """A hint at environments with a similar name, each in its latest version."""
    latest: dict[str, str] = {}
    for known in gym.registry:
        name = _name(known)
        if name not in latest or _version(known) > _version(latest[name]):
            latest[name] = known
    close = get_close_matches(_name(env_id), latest, n=3, cutoff=SIMILAR)
    return f"did you mean {' or '.join(repr(latest[name]) for name in close)}? " if close else ""


def _name(env_id: str) -> str:
    return re.sub(r"-v\d+$", "", env_id).lower()


def _version(env_id: str) -> int:
    found = re.search(r"-v(\d+)$", env_id)
    return int(found[1]) if found else -1


def open_vec_env(env_id: str, n_envs: int, seed: int) -> VecEnv:
    """Make environments in this process, each wrapped in SB3's Monitor."""
    return make_vec_env(partial(gym.make, env_id), n_envs=n_envs, seed=seed, vec_env_cls=DummyVecEnv)


def check_spaces(model: BaseAlgorithm, env: gym.Env[Any, Any] | VecEnv, env_id: str) -> None:
    """Raise ``UserError`` if a model was trained in other spaces."""
    try:
        check_for_correct_spaces(model._wrap_env(env, verbose=0), model.observation_space, model.action_space)
    except ValueError as error:
        raise UserError(
            f"the model does not fit {env_id}: {reason(error)}. If it was trained with wrappers, register an id for "
            "the wrapped environment"
        ) from error


def renders_frames(env: gym.Env[Any, Any]) -> bool:
    """Whether an environment can render images."""
    return "rgb_array" in (env.metadata.get("render_modes") or ())
