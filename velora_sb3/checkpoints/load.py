"""Loading a checkpoint."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch
from stable_baselines3.common.base_class import BaseAlgorithm, maybe_make_env
from stable_baselines3.common.utils import check_for_correct_spaces
from stable_baselines3.common.vec_env import VecEnv

from velora_sb3._normalization import keep_with
from velora_sb3.checkpoints.directories import recover, wait_for_disk
from velora_sb3.checkpoints.format.allow_list import AllowList
from velora_sb3.checkpoints.format.encoding import Decoder
from velora_sb3.checkpoints.format.errors import CheckpointError
from velora_sb3.checkpoints.format.files import ARRAYS, BUFFER, MANIFEST, OPTIMIZERS, POLICY, STATE
from velora_sb3.checkpoints.format.reading import Checkpoint, open_checkpoint
from velora_sb3.checkpoints.retention import newest_checkpoint
from velora_sb3.checkpoints.state.model import make_model, restore_parameters
from velora_sb3.checkpoints.state.replay_buffer import restore_buffer, truncate_episodes
from velora_sb3.checkpoints.state.vec_env import (
    restore_statistics,
    restore_vec_env,
    saved_statistics,
    vec_differences,
    wrapped_as_saved,
)

# Arguments of policies that are widths or numbers of layers.
SIZES = frozenset({
    "net_arch", "features_extractor_kwargs", "features_dim", "n_critics", "n_quantiles", "lstm_hidden_size",
    "n_lstm_layers", "units", "readout_units", "backbone_units", "backbone_layers", "encoder_kwargs",
})  # fmt: skip


@dataclass
class Loaded:
    """A model from a checkpoint, with the rest of the checkpoint, which is restored when training resumes.

    Attributes:
        model: The model.
        checkpoint: The checkpoint.
        decoder: Decodes its ``state.json``.
    """

    model: BaseAlgorithm
    checkpoint: Checkpoint
    decoder: Decoder


def load_checkpoint(
    path: str | Path,
    env: gym.Env[Any, Any] | VecEnv | str | None = None,
    *,
    device: torch.device | str = "auto",
    custom_objects: Mapping[str, Any] | None = None,
    trusted: Iterable[type | str] = (),
) -> BaseAlgorithm:
    """Load the model of a checkpoint, to predict, or to train if environments are given.

    Loading never opens a pickle, and uses no class that is neither on a fixed list nor trusted.

    With environments like those of the run, the running episodes resume. To resume training as if it had never
    stopped, use :func:`resume_training`, which also restores random states, callbacks and schedules.

    Args:
        path: A checkpoint, or the directory of a run, which stands for its newest undamaged checkpoint.
        env: The environments, a single one, or its id; as many as the run had. They are wrapped in ``VecNormalize``
            with the checkpoint's statistics if the run's were. None for a model that only predicts; one that was
            trained with ``HerReplayBuffer`` has no replay buffer then. ``StatefulPredictor``, ``DRL_prediction`` and
            the functions of :mod:`velora_sb3.export` normalize for such a model if the run's environments did.
        device: Device of the model.
        custom_objects: Constructor arguments by name: those left out when the checkpoint was saved, and replacements
            for stored ones.
        trusted: Further classes that the checkpoint may use, such as a features extractor of your own, or their
            qualified names.

    Returns:
        The model.

    Raises:
        CheckpointError: If a file, which the message names, is missing, damaged or unsafe; or if the environments do
            not fit.
    """
    return load(path, env, device, custom_objects, trusted).model


def load(
    path: str | Path,
    env: gym.Env[Any, Any] | VecEnv | str | None,
    device: torch.device | str,
    custom_objects: Mapping[str, Any] | None,
    trusted: Iterable[type | str],
) -> Loaded:
    """Like :func:`load_checkpoint`, with what is left to restore."""
    wait_for_disk()
    path = Path(path)
    if not path.exists() and path.parent.is_dir():
        recover(path.absolute().parent)
    if path.is_dir() and not (path / MANIFEST).exists():
        path = newest_checkpoint(path)
    checkpoint = open_checkpoint(path)
    with clear_errors(checkpoint, custom_objects or ()):
        return _build(checkpoint, env, device, custom_objects or {}, AllowList(trusted))


@contextmanager
def clear_errors(checkpoint: Checkpoint, replaced: Iterable[str] = ()) -> Iterator[None]:
    """Turn whatever a malformed file, or what replaces its arguments, makes SB3 or torch raise into a clear error."""
    path = checkpoint.manifest.path
    try:
        yield
    except CheckpointError as error:
        raise (error if str(path) in str(error) else CheckpointError(f"{path / STATE}: {error}")) from error
    except Warning:  # turned into errors by a filter
        raise
    except Exception as error:
        reason, replaced = f"{type(error).__name__}: {error}", ", ".join(replaced)
        remedy = f"leave out of custom_objects what does not fit it ({replaced}), " if replaced else ""
        raise CheckpointError(
            f"{path / STATE} cannot be loaded ({reason}): {remedy}use another checkpoint, or the versions that wrote "
            f"this one, {checkpoint.state.get('versions')}"
        ) from error


def _build(
    checkpoint: Checkpoint,
    env: gym.Env[Any, Any] | VecEnv | str | None,
    device: torch.device | str,
    custom_objects: Mapping[str, Any],
    allow_list: AllowList,
) -> Loaded:
    state = checkpoint.state
    decoder = Decoder(checkpoint.tensors(ARRAYS), allow_list)
    policy = checkpoint.tensors(POLICY)
    venv = None if env is None else _vectorized(env, state, decoder)
    _check_sizes(state, sum(tensor.numel() for tensor in policy.values()))
    model = make_model(state, decoder, venv, device, custom_objects)
    optimizers = Decoder(checkpoint.tensors(OPTIMIZERS), allow_list)
    restore_parameters(model, policy, state["optimizers"], state["variables"], optimizers)
    buffer = getattr(model, "replay_buffer", None)
    if checkpoint.has(BUFFER) and buffer is not None:
        restore_buffer(buffer, state["replay_buffer"], checkpoint.tensors(BUFFER, copy=False), decoder)
    if venv is not None:
        _restore_environments(model, venv, state, decoder)
    elif state["environments"] is not None:
        keep_with(model, saved_statistics(state["environments"], decoder))
    return Loaded(model, checkpoint, decoder)


def _vectorized(env: gym.Env[Any, Any] | VecEnv | str, state: dict[str, Any], decoder: Decoder) -> VecEnv:
    venv = BaseAlgorithm._wrap_env(maybe_make_env(env, verbose=0))
    free = state.get("model_only") and state["replay_buffer"] is None
    if venv.num_envs != state["n_envs"] and not free:
        raise CheckpointError(
            f"the run had {state['n_envs']} environments, got {venv.num_envs}: pass as many, or env=None for a model "
            "that only predicts"
        )
    if state["environments"] is not None:
        venv = wrapped_as_saved(venv, state["environments"], decoder)
    spaces = [decoder.decode(state[name]) for name in ("observation_space", "action_space")]
    try:
        check_for_correct_spaces(venv, *spaces)
    except ValueError as error:
        raise CheckpointError(f"the environments do not match the run's: {error}") from error
    return venv


def _restore_environments(model: BaseAlgorithm, venv: VecEnv, state: dict[str, Any], decoder: Decoder) -> None:
    """Resume the running episodes; where that is impossible, the next ``learn`` resets the environments."""
    saved, lost = state["environments"], state["episodes_lost"]
    if saved is None:
        return
    if model._last_obs is None:
        restore_statistics(venv, saved, decoder)
        return
    difference = vec_differences(venv, saved)
    if difference is None:
        restore_vec_env(venv, saved, decoder, "environments", with_episode=lost is None)
    else:
        restore_statistics(venv, saved, decoder)
    if lost is not None or difference is not None:
        warnings.warn(
            f"the running episode is discarded and the environments are reset: {difference or lost}", stacklevel=5
        )
        model._last_obs = None
        buffer = getattr(model, "replay_buffer", None)
        if buffer is not None:
            truncate_episodes(buffer)


def _check_sizes(state: dict[str, Any], numbers: int) -> None:
    """Raise if a network would be larger than the parameters that are stored for it."""
    for name, size in _declared_sizes(state["arguments"].get("policy_kwargs", {}), "policy_kwargs"):
        if size > numbers:
            raise CheckpointError(
                f"{name} is {size}, but {POLICY} holds no more than {numbers} numbers: use another checkpoint"
            )


def _declared_sizes(data: Any, name: str) -> list[tuple[str, int]]:
    """Widths and numbers of layers; each implies at least as many parameters."""
    if isinstance(data, list):
        own = [(f"{name}[{index}]", entry) for index, entry in enumerate(data) if type(entry) is int]
        return own + [(f"{name}: the product", one[1] * other[1]) for one, other in itertools.pairwise(own)]
    if not isinstance(data, dict):
        return [(name, data)] if type(data) is int else []
    sized = (key for key in data if key in SIZES or name.endswith("['net_arch']"))
    return [pair for key in sized for pair in _declared_sizes(data[key], f"{name}[{key!r}]")]
