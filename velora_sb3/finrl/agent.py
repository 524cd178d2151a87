"""FinRL's agent, for all algorithms and liquid policies."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import gymnasium as gym
import numpy as np
import pandas as pd
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.vec_env import VecEnv

from velora_sb3.finrl.models import NOISES, find_model
from velora_sb3.finrl.prediction import load_model, trade
from velora_sb3.memory import StatefulPredictor

Model = TypeVar("Model", bound=BaseAlgorithm)
NOISE_SIGMA = 0.1  # FinRL's


class DRLAgent:
    """Builds, trains and tries out models by the calls of FinRL's ``DRLAgent``.

    Args:
        env: The environment to train in, one or vectorized.
    """

    def __init__(self, env: gym.Env[Any, Any] | VecEnv) -> None:
        self.env = env

    def get_model(
        self,
        model_name: str,
        policy: str | type = "LiquidPolicy",
        policy_kwargs: Mapping[str, Any] | None = None,
        model_kwargs: Mapping[str, Any] | None = None,
        verbose: int = 1,
        seed: int | None = None,
        tensorboard_log: str | Path | None = None,
    ) -> BaseAlgorithm:
        """Build a model. The dicts given are left as they are.

        Args:
            model_name: ``"ppo"``, ``"sac"``, ``"recurrent_sac"`` and so on: a key of :data:`MODELS`.
            policy: A policy's alias or class.
            policy_kwargs: Its arguments.
            model_kwargs: The algorithm's arguments; those left out are its own defaults. ``action_noise`` may be
                ``"normal"`` or ``"ornstein_uhlenbeck"``, with a deviation of 0.1.
            verbose: As SB3's. This and the next two may also stand in ``model_kwargs``, which counts then.
            seed: Of the run.
            tensorboard_log: Folder for TensorBoard's files.

        Returns:
            The model.

        Raises:
            ValueError: If there is no model, or no action noise, of that name.
            TypeError: If ``model_kwargs`` is no dict, or holds what the algorithm does not take.
            ImportError: If TensorBoard's files are wanted and it is not installed.
        """
        algorithm = find_model(model_name)
        if not isinstance(model_kwargs, Mapping | None):
            raise TypeError(f"model_kwargs must be a dict of {model_name}'s arguments, got {model_kwargs!r}")
        log = None if tensorboard_log is None else str(tensorboard_log)
        arguments = {"verbose": verbose, "seed": seed, "tensorboard_log": log, **(model_kwargs or {})}
        if "action_noise" in arguments:
            arguments["action_noise"] = _noise(arguments["action_noise"], self.env.action_space)
        if arguments["tensorboard_log"] is not None and find_spec("tensorboard") is None:
            raise ImportError("tensorboard_log needs TensorBoard: pip install tensorboard, or leave it out")
        if unknown := sorted(set(arguments) - set(known := inspect.signature(algorithm).parameters)):
            raise TypeError(f"{model_name} has no argument {', '.join(unknown)}; it takes {', '.join(known)}")
        kwargs = None if policy_kwargs is None else copy.deepcopy(dict(policy_kwargs))  # SB3 writes into it
        return algorithm(policy, self.env, policy_kwargs=kwargs, **arguments)

    @staticmethod
    def train_model(
        model: Model,
        tb_log_name: str = "run",
        total_timesteps: int = 5000,
        callbacks: MaybeCallback | Sequence[BaseCallback] = None,
        *,
        reset_num_timesteps: bool = True,
    ) -> Model:
        """Train a model.

        Args:
            model: The model.
            tb_log_name: Name of the run in TensorBoard.
            total_timesteps: How long.
            callbacks: A callback, a list of them, a ``CallbackList``, a function, or None.
            reset_num_timesteps: False to go on counting from earlier training.

        Returns:
            The same model.
        """
        if isinstance(callbacks, Sequence):
            callbacks = CallbackList(list(callbacks)) if callbacks else None
        return model.learn(total_timesteps, callbacks, tb_log_name=tb_log_name, reset_num_timesteps=reset_num_timesteps)

    @staticmethod
    def DRL_prediction(
        model: BaseAlgorithm | StatefulPredictor, environment: gym.Env[Any, Any] | VecEnv, deterministic: bool = True
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Let a model trade for one episode. It remembers what it saw in the episode, and nothing from before.

        If it was trained in a ``VecNormalize``, its observations are normalized here too, with the statistics of
        training.

        Args:
            model: The model, or a predictor of it.
            environment: A trading environment, wrapped or not; or a vectorized one that holds just one.
            deterministic: Whether to act deterministically.

        Returns:
            The account's value by date (``date``, ``account_value``), and the actions, as the environment's
            ``save_asset_memory()`` and ``save_action_memory()`` give them at the end of the episode.

        Raises:
            ValueError: If the environment has no such methods, or is several.
        """
        return trade(model, environment, deterministic)

    @staticmethod
    def DRL_prediction_load_from_file(
        model_name: str, environment: gym.Env[Any, Any] | VecEnv, cwd: str | Path, deterministic: bool = True
    ) -> list[float]:
        """Let a model from a file trade for one episode.

        Args:
            model_name: The name it was built by.
            environment: As for :meth:`DRL_prediction`.
            cwd: The file that ``model.save`` wrote, with or without ``.zip``; or a folder of ``SaveCheckpoints``, whose
                ``vecnormalize.pkl`` is used too. Such files can run code when they are loaded: open your own alone.
            deterministic: Whether to act deterministically.

        Returns:
            The account's value on each day.

        Raises:
            ValueError: If there is no model of that name, or it cannot be loaded.
        """
        model, normalizer = load_model(find_model(model_name), Path(cwd), environment)
        account, _ = trade(model, environment, deterministic, normalizer)
        return [float(value) for value in account["account_value"]]


def _noise(kind: Any, action_space: spaces.Space[Any]) -> ActionNoise | None:
    if kind is None or isinstance(kind, ActionNoise):
        return kind
    if kind not in NOISES:
        raise ValueError(f"unknown action_noise {kind!r}: choose from {', '.join(NOISES)}, or pass an ActionNoise")
    if not isinstance(action_space, spaces.Box):
        raise ValueError(
            f"action_noise is for continuous actions (a Box), the actions are {action_space}: leave it out"
        )
    zeros = np.zeros(action_space.shape)
    return NOISES[kind](zeros, NOISE_SIGMA + zeros)
