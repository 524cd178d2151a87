"""FinRL's agent, for every algorithm and liquid policies."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
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

from velora_sb3._validation import check_choice
from velora_sb3.finrl.models import NOISES, find_model
from velora_sb3.finrl.prediction import load_model, trade
from velora_sb3.finrl.tensorboard import check_tensorboard
from velora_sb3.memory import StatefulPredictor

Model = TypeVar("Model", bound=BaseAlgorithm)
NOISE_SIGMA = 0.1  # as in FinRL


class DRLAgent:
    """Builds, trains and backtests models with the API of FinRL's ``DRLAgent``.

    Args:
        env: The training environment, single or vectorized.
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
        """Build a model. The dicts passed in are not modified.

        Args:
            model_name: A key of :data:`MODELS`, such as ``"ppo"``, ``"sac"`` or ``"recurrent_sac"``.
            policy: A policy alias or class.
            policy_kwargs: Arguments of the policy.
            model_kwargs: Arguments of the algorithm, whose own defaults apply otherwise. ``action_noise`` is an
                ``ActionNoise``, or ``"normal"`` or ``"ornstein_uhlenbeck"`` for noise with a standard deviation of 0.1.
            verbose: SB3's verbosity. ``model_kwargs`` takes precedence over this argument and the next two.
            seed: Random seed.
            tensorboard_log: Directory for TensorBoard logs.

        Returns:
            The model, untrained.

        Raises:
            ValueError: If ``model_name`` or ``action_noise`` is unknown.
            TypeError: If ``model_kwargs`` is not a dict, or holds an argument that the algorithm does not have.
            ImportError: If ``tensorboard_log`` is set and TensorBoard is not installed.
        """
        algorithm = find_model(model_name)
        if not isinstance(model_kwargs, Mapping | None):
            raise TypeError(f"model_kwargs must be a dict of arguments of {model_name}, got {model_kwargs!r}")
        log = None if tensorboard_log is None else str(tensorboard_log)
        arguments = {"verbose": verbose, "seed": seed, "tensorboard_log": log, **(model_kwargs or {})}
        if "action_noise" in arguments:
            arguments["action_noise"] = _noise(arguments["action_noise"], self.env.action_space)
        if arguments["tensorboard_log"] is not None:
            check_tensorboard()
        if unknown := sorted(set(arguments) - set(known := inspect.signature(algorithm).parameters)):
            raise TypeError(f"{model_name} has no argument {', '.join(unknown)}; its arguments are {', '.join(known)}")
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
            total_timesteps: Environment steps to train for.
            callbacks: A callback, a list of callbacks, a ``CallbackList``, a function, or None.
            reset_num_timesteps: False to continue the timestep count of earlier training.

        Returns:
            The same model, trained.
        """
        if isinstance(callbacks, Sequence):
            callbacks = CallbackList(list(callbacks)) if callbacks else None
        return model.learn(total_timesteps, callbacks, tb_log_name=tb_log_name, reset_num_timesteps=reset_num_timesteps)

    @staticmethod
    def DRL_prediction(
        model: BaseAlgorithm | StatefulPredictor, environment: gym.Env[Any, Any] | VecEnv, deterministic: bool = True
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Let a model trade for one episode, from an empty memory.

        A recurrent model carries its state through the whole episode. If the model was trained under ``VecNormalize``,
        observations are normalized with the training statistics.

        Args:
            model: The model, or a ``StatefulPredictor`` of it.
            environment: A trading environment, wrapped or not, or a vectorized environment that holds exactly one.
            deterministic: Whether to take deterministic actions.

        Returns:
            The account values (columns ``date`` and ``account_value``) and the actions, as returned by the
            environment's ``save_asset_memory()`` and ``save_action_memory()`` at the end of the episode.

        Raises:
            ValueError: If the environment lacks these methods, holds several environments, or has other observations or
                actions than the model.
        """
        return trade(model, environment, deterministic)

    @staticmethod
    def DRL_prediction_load_from_file(
        model_name: str, environment: gym.Env[Any, Any] | VecEnv, cwd: str | Path, deterministic: bool = True
    ) -> list[float]:
        """Load a model and let it trade for one episode.

        Args:
            model_name: The name the model was built with.
            environment: As for :meth:`DRL_prediction`.
            cwd: A file written by ``model.save``, with or without ``.zip``, or a checkpoint directory of
                ``SaveCheckpoints``. The statistics of a ``VecNormalize`` are applied too: ``vecnormalize.pkl`` in the
                directory, or ``<name>_vecnormalize.pkl`` beside the file ``<name>.zip``, which ``VecNormalize.save``
                writes. Loading such files can run arbitrary code: load only files that you trust.
            deterministic: Whether to take deterministic actions.

        Returns:
            The account value on each day.

        Raises:
            ValueError: If ``model_name`` is unknown, the model is missing or cannot be loaded, or the environment does
                not fit it.
        """
        model, normalizer = load_model(find_model(model_name), Path(cwd), environment)
        account, _ = trade(model, environment, deterministic, normalizer)
        return [float(value) for value in account["account_value"]]


def _noise(kind: Any, action_space: spaces.Space[Any]) -> ActionNoise | None:
    if kind is None or isinstance(kind, ActionNoise):
        return kind
    noise = NOISES[check_choice("action_noise", kind, NOISES)]
    if not isinstance(action_space, spaces.Box):
        raise ValueError(f"action_noise needs a Box action space, got {action_space}: leave action_noise out")
    zeros = np.zeros(action_space.shape)
    return noise(zeros, NOISE_SIGMA + zeros)
