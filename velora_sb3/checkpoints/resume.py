"""Resuming a run."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import CallbackList
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.vec_env import VecEnv

from velora_sb3._optional import versions
from velora_sb3.checkpoints.load import Loaded, clear_errors, load
from velora_sb3.checkpoints.metrics import metrics_are_loaded
from velora_sb3.checkpoints.state.callbacks import Transient, as_callback, restore_callbacks
from velora_sb3.checkpoints.state.logger import restore_logger, warn_of_missing_outputs
from velora_sb3.checkpoints.state.model import restore_exploration_matrices
from velora_sb3.checkpoints.state.randomness import restore_randomness


def resume_training(
    path: str | Path,
    env: gym.Env[Any, Any] | VecEnv | str,
    callback: MaybeCallback = None,
    *,
    total_timesteps: int | None = None,
    logger: Logger | None = None,
    device: torch.device | str = "auto",
    custom_objects: Mapping[str, Any] | None = None,
    trusted: Iterable[type | str] = (),
    **learn_arguments: Any,
) -> BaseAlgorithm:
    """Resume a run as if it had never stopped: bit for bit, if every environment exposes its state.

    Args:
        path: A checkpoint, or the directory of a run, which stands for its newest undamaged checkpoint.
        env: The environments, a single one, or its id, made as for the original run.
        callback: New callbacks of the same classes, in the same order. Their states are restored.
        total_timesteps: Timesteps of the whole run, including those before the checkpoint. None keeps the run's own. A
            run that has as many, or more because on-policy algorithms finish their rollout, is finished: the model is
            returned as it is.
        logger: The logger, as for ``set_logger``. None continues the files of the one that the run was given: SB3's
            ``stdout``, ``log``, ``csv``, ``json`` and ``tensorboard`` in the logger's folder. What was logged after the
            checkpoint stays in them and is logged again; a warning names what cannot be continued.
        device: Device of the model.
        custom_objects: As in :func:`load_checkpoint`.
        trusted: As in :func:`load_checkpoint`.
        **learn_arguments: Arguments of ``learn``: ``progress_bar``, or another ``log_interval`` or ``tb_log_name``.

    Returns:
        The trained model.

    Raises:
        CheckpointError: If there is no checkpoint, or it cannot be loaded.
        ValueError: If ``reset_num_timesteps`` is true.
    """
    if learn_arguments.pop("reset_num_timesteps", False):
        raise ValueError(
            "resume_training() counts on from the checkpoint's timesteps: to count from 0, use load_checkpoint(), and "
            "learn() of the model that it returns"
        )
    loaded = load(path, env, device, custom_objects, trusted)
    model, state = loaded.model, loaded.checkpoint.state
    _warn_of_differences(state, model)
    callbacks = as_callback(callback)
    with clear_errors(loaded.checkpoint):
        restore_callbacks(callbacks, state["callbacks"], loaded.decoder, discard_episodes=model._last_obs is None)
        if logger is not None:
            model.set_logger(logger)
        elif state.get("logger") is not None:
            restore_logger(model, state["logger"])
    total = model._total_timesteps if total_timesteps is None else total_timesteps
    if total_timesteps is not None and total < model.num_timesteps:
        warnings.warn(
            f"total_timesteps={total}, but the run already has {model.num_timesteps} timesteps: it is finished, and "
            "the model is returned as it is. Pass a larger total_timesteps to continue",
            stacklevel=2,
        )
    model.learn(
        max(total - model.num_timesteps, 0),
        callback=CallbackList([RestoreRandomness(loaded, logger is None), callbacks]),
        reset_num_timesteps=False,
        **{**state["learn"], **learn_arguments},
    )
    return model


class RestoreRandomness(Transient):
    """Restores what ``learn`` changes before its first step, at the moment at which the checkpoint was saved."""

    def __init__(self, loaded: Loaded, check_logger: bool) -> None:
        super().__init__()
        self._loaded: Loaded | None = loaded
        self._check_logger = check_logger

    def _on_training_start(self) -> None:
        if self._loaded is not None:
            self._restore(self._loaded)

    def _on_rollout_start(self) -> None:
        if self._loaded is None:
            return
        state = self._loaded.checkpoint.state
        if self._check_logger and state.get("logger") is not None:
            warn_of_missing_outputs(self.model, state["logger"])
        if state["moment"] == "rollout start":
            self._restore(self._loaded)
        self._loaded = None

    def _on_step(self) -> bool:
        return True

    def _restore(self, loaded: Loaded) -> None:
        state, decoder, log = loaded.checkpoint.state, loaded.decoder, self.model.logger
        with clear_errors(loaded.checkpoint):
            for name, value, count, excluded in state["log"]:
                log.name_to_value[name] = decoder.decode(value)
                log.name_to_count[name] = int(count)
                log.name_to_excluded[name] = tuple(excluded)
            metrics_are_loaded(self.model, self.locals["callback"], loaded.checkpoint.manifest)
            if (noise := self.model.action_noise) is not None and "action_noise" in state["arguments"]:
                saved = decoder.decode(state["arguments"]["action_noise"])
                if type(saved) is type(noise):
                    vars(noise).update(vars(saved))  # in place: collect_rollouts already holds this object
            decoder.device = self.model.device
            restore_exploration_matrices(self.model, decoder.decode(state["exploration_matrices"]))
            restore_randomness(self.model, decoder.decode(state["random"]))


def _warn_of_differences(state: dict[str, Any], model: BaseAlgorithm) -> None:
    now, then = versions(), state["versions"]
    changed = [f"{name} {then[name]} (now {now[name]})" for name in now if name in then and then[name] != now[name]]
    if changed:
        text = f"the checkpoint was written with {', '.join(changed)}: the resumed run may not be bit for bit the same"
        warnings.warn(text, stacklevel=3)
    if state["replay_buffer"] is None and getattr(model, "replay_buffer", None) is not None:
        warnings.warn("the checkpoint has no replay buffer: training resumes with an empty one", stacklevel=3)
