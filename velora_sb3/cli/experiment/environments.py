"""Environments by their gymnasium ids."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import Any

import gymnasium as gym
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from velora_sb3._headless import prepare_rendering
from velora_sb3.cli.errors import UserError, reason, suggestion


def import_packages(names: list[str]) -> None:
    """Import the packages that register environments."""
    for name in names:
        if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
            raise UserError(f"--gym-packages takes module names such as my_envs, got {name!r}")
        try:
            import_module(name)
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
        hint = suggestion(env_id, gym.registry)
        raise UserError(
            f"unknown env {env_id!r}: {hint or reason(error) + ' '}"
            "(use --gym-packages for a package that registers environments)"
        ) from error
    except Exception as error:  # the environment's constructor may raise anything
        raise UserError(f"env {env_id!r} cannot be created: {type(error).__name__}: {reason(error)}") from error


def open_vec_env(env_id: str, n_envs: int, seed: int) -> VecEnv:
    """Make environments in this process, each wrapped in SB3's Monitor."""
    return make_vec_env(partial(gym.make, env_id), n_envs=n_envs, seed=seed, vec_env_cls=DummyVecEnv)


def renders_frames(env: gym.Env[Any, Any]) -> bool:
    """Whether an environment can render images."""
    return "rgb_array" in (env.metadata.get("render_modes") or ())
