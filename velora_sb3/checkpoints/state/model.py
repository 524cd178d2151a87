"""A model as plain data: class and arguments, attributes, parameters and optimizers."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import NStepReplayBuffer
from stable_baselines3.common.distributions import StateDependentNoiseDistribution
from stable_baselines3.common.noise import VectorizedActionNoise
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.save_util import recursive_getattr, recursive_setattr
from stable_baselines3.common.utils import ConstantSchedule, FloatSchedule
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer

from velora_sb3.checkpoints.format.allow_list import AllowList, name_of
from velora_sb3.checkpoints.format.encoding import Decoder, Encoder
from velora_sb3.checkpoints.format.errors import CheckpointError, NotPlainError

# Attributes that are stored elsewhere, or derived from others.
ELSEWHERE = frozenset({
    "observation_space", "action_space", "policy_class", "n_envs", "start_time", "lr_schedule", "exploration_schedule",
})  # fmt: skip
# SB3 does not save this, because it resets the environments on loading.
RECURRENT_STATE = "_last_lstm_states"
# Attributes that belong to a run and to the machine that it is on.
OF_A_RUN = frozenset({
    "_last_obs", "_last_original_obs", "_last_episode_starts", RECURRENT_STATE, "_collection", "ep_info_buffer",
    "ep_success_buffer", "tensorboard_log",
})  # fmt: skip

SCHEDULES = ("learning_rate", "clip_range", "clip_range_vf", "delta_std", "delta_std_schedule")


def capture_model(
    model: BaseAlgorithm, encoder: Encoder, left_out: Collection[str], model_only: bool = False
) -> dict[str, Any]:
    """Class, spaces, constructor arguments and other attributes of a model; ``model_only``: without those of a run."""
    arguments: dict[str, Any] = {}
    attributes: dict[str, Any] = {}
    names, elsewhere = _argument_names(type(model)), _not_stored(model)
    for name, value in vars(model).items():
        if name in elsewhere or name in left_out or _aliases_parameters(value, model.policy):
            continue
        if model_only and name in OF_A_RUN:
            continue
        if model_only and isinstance(value, VectorizedActionNoise):
            value = value.base_noise  # SB3 repeats it for as many environments as there will be
        where = arguments if name in names else attributes
        try:
            where[name] = encoder.encode(_as_given(model, name, value) if name in names else value, name)
        except NotPlainError as error:
            raise CheckpointError(f"{error}. {_alternative(name, error.value)}") from error
    return {
        "algorithm": name_of(type(model)),
        "policy": name_of(model.policy_class),
        "observation_space": encoder.encode(model.observation_space, "observation_space"),
        "action_space": encoder.encode(model.action_space, "action_space"),
        "n_envs": model.n_envs,
        "arguments": arguments,
        "attributes": attributes,
        "left_out": sorted(left_out),
    }


def capture_parameters(
    model: BaseAlgorithm, encoder: Encoder
) -> tuple[dict[str, torch.Tensor], dict[str, Any], dict[str, Any]]:
    """Parameters and optimizers."""
    states = model.get_parameters()
    policy = states.pop("policy")
    optimizers = {name: encoder.encode(_plain_dict(state), name) for name, state in states.items()}
    variables = {name: recursive_getattr(model, name) for name in model._get_torch_save_params()[1]}
    return dict(policy), optimizers, {name: encoder.encode(value, name) for name, value in variables.items()}


def make_model(
    described: dict[str, Any],
    decoder: Decoder,
    env: VecEnv | None,
    device: torch.device | str,
    custom_objects: Mapping[str, Any],
) -> BaseAlgorithm:
    """A model like the one described, with new parameters and an empty replay buffer."""
    algorithm: Any = decoder.allow_list.find(described["algorithm"], BaseAlgorithm)
    for name in described["left_out"]:
        if name not in custom_objects and name in _argument_names(algorithm):
            raise CheckpointError(f"it was saved without {name}: pass it as custom_objects={{{name!r}: ...}}")
    policy_class: Any = decoder.allow_list.find(described["policy"], BasePolicy)
    model: BaseAlgorithm = algorithm(policy=policy_class, env=env, device=device, _init_setup_model=False)
    decoder.device = model.device
    arguments = {name: decoder.decode(value) for name, value in described["arguments"].items()}
    attributes = {name: decoder.decode(value) for name, value in described["attributes"].items()}
    for name in [*arguments, *attributes]:
        if name in ELSEWHERE or _is_behaviour(type(model), name):
            raise CheckpointError(f"it sets {name!r}, which is not part of the state of a {type(model).__name__}")
    _check_cell(arguments.get("policy_kwargs"), decoder.allow_list)
    given = dict(custom_objects)
    if unknown := given.keys() - {*_argument_names(type(model)), *attributes, *described["left_out"], *ELSEWHERE}:
        warnings.warn(  # no error: scripts pass the same custom_objects to every algorithm, as RL Zoo does
            f"custom_objects has no effect on {', '.join(sorted(unknown))}, which {type(model).__name__} does not have",
            stacklevel=2,
        )
    if "policy_kwargs" in given:  # SB3 and the recurrent algorithms add to what users pass
        added = {name: value for name, value in model.policy_kwargs.items() if not name.startswith("optimizer")}
        given["policy_kwargs"] = {**added, **given["policy_kwargs"]}
        if "use_sde" in added:
            given["policy_kwargs"]["use_sde"] = arguments["use_sde"]
    vars(model).update({**arguments, **attributes, **given})
    if env is None:
        model.observation_space = decoder.decode(described["observation_space"])
        model.action_space = decoder.decode(described["action_space"])
        model.n_envs = int(described["n_envs"])
    if without_buffer := env is None and _needs_env(getattr(model, "replay_buffer_class", None)):
        vars(model)["replay_buffer"] = ()  # SB3 makes one where there is None
        warnings.warn(
            "the model is loaded without its replay buffer, as HerReplayBuffer asks the environment for rewards: pass "
            "env= to train",
            stacklevel=5,
        )
    model._setup_model()
    if without_buffer:
        vars(model)["replay_buffer"] = None
    vars(model).update({name: value for name, value in attributes.items() if name not in given})
    return model


def restore_parameters(
    model: BaseAlgorithm, policy: dict[str, torch.Tensor], optimizers: Any, variables: Any, decoder: Decoder
) -> None:
    """Restore parameters and optimizers."""
    decoder.device = "cpu"  # optimizers move their tensors to where they need them
    states: dict[str, Any] = {name: decoder.decode(state) for name, state in optimizers.items()}
    states["policy"] = policy
    model.set_parameters(states, exact_match=True, device=model.device)
    known = model._get_torch_save_params()[1]
    for name, value in variables.items():
        if name not in known:
            raise CheckpointError(f"it has a variable {name!r}, which a {type(model).__name__} does not have")
        recursive_setattr(model, f"{name}.data", decoder.decode(value).to(model.device))
    if model.use_sde:
        model.policy.reset_noise()  # type: ignore[operator]


def exploration_matrices(model: BaseAlgorithm) -> dict[str, torch.Tensor]:
    """The noise matrices that gSDE has drawn, which SB3 keeps outside the parameters."""
    distribution = _gsde(model)
    if distribution is None:
        return {}
    return {name: getattr(distribution, name).detach() for name in ("exploration_mat", "exploration_matrices")}


def restore_exploration_matrices(model: BaseAlgorithm, matrices: dict[str, torch.Tensor]) -> None:
    """Restore the noise matrices of gSDE."""
    distribution = _gsde(model)
    for name, matrix in matrices.items():
        if distribution is not None and name in ("exploration_mat", "exploration_matrices"):
            setattr(distribution, name, matrix)


def _gsde(model: BaseAlgorithm) -> StateDependentNoiseDistribution | None:
    for owner in (model.policy, getattr(model.policy, "actor", None)):
        distribution = getattr(owner, "action_dist", None)
        if isinstance(distribution, StateDependentNoiseDistribution):
            return distribution
    return None


def _check_cell(policy_kwargs: Any, allow_list: AllowList) -> None:
    """Raise unless a cell by its name (``package.module:Class``), which the policy imports, is on the allow list."""
    if isinstance(policy_kwargs, dict):
        _check_cell(policy_kwargs.get("features_extractor_kwargs"), allow_list)
        cell = policy_kwargs.get("cell")
        if isinstance(cell, str) and ":" in cell:
            allow_list.find(cell.replace(":", "."))


def _needs_env(buffer_class: Any) -> bool:
    return isinstance(buffer_class, type) and issubclass(buffer_class, HerReplayBuffer)


def _is_behaviour(algorithm: type, name: str) -> bool:
    """Whether a name is that of a method or property, which data must not override."""
    defined = inspect.getattr_static(algorithm, name, None)
    return name.startswith("__") or callable(defined) or hasattr(defined, "__get__")


def _argument_names(algorithm: type) -> set[str]:
    return set(inspect.signature(algorithm).parameters)


def _not_stored(model: BaseAlgorithm) -> set[str]:
    states, variables = model._get_torch_save_params()
    parameters = {name.partition(".")[0] for name in [*states, *variables]}
    return (parameters | ELSEWHERE | set(model._excluded_save_params())) - {RECURRENT_STATE}


def _aliases_parameters(value: Any, policy: BasePolicy) -> bool:
    """Whether a value is a list of the policy's own tensors, such as running statistics of batch norms."""
    if not isinstance(value, list) or not value or not all(isinstance(entry, torch.Tensor) for entry in value):
        return False
    own = {tensor.data_ptr() for tensor in policy.state_dict().values() if isinstance(tensor, torch.Tensor)}
    return all(entry.data_ptr() in own for entry in value)


def _as_given(model: BaseAlgorithm, name: str, value: Any) -> Any:
    """An argument as the user passed it, before SB3 made a schedule of it or chose a class."""
    if name == "replay_buffer_class" and value is NStepReplayBuffer and getattr(model, "n_steps", 1) > 1:
        return None  # SB3's own choice; it warns if it is passed
    while isinstance(value, FloatSchedule):
        value = value.value_schedule
    return value.val if isinstance(value, ConstantSchedule) else value


def described_arguments(model: BaseAlgorithm) -> dict[str, tuple[Any, Any]]:
    """The constructor arguments of a model as the user passed them, and as a checkpoint has them: those it can have."""
    described: dict[str, tuple[Any, Any]] = {}
    for name in (_argument_names(type(model)) - _not_stored(model)) & vars(model).keys():
        value = _as_given(model, name, vars(model)[name])
        with suppress(NotPlainError):
            described[name] = value, Encoder().encode(value, name)
    return described


def _plain_dict(state: Mapping[Any, Any]) -> dict[Any, Any]:
    return {key: _plain_dict(value) if isinstance(value, Mapping) else value for key, value in state.items()}


def _alternative(name: str, value: Any) -> str:
    if name in SCHEDULES:
        plain = "Use a number or a LinearSchedule of stable_baselines3.common.utils. "
    elif callable(value):
        plain = "Use a class, such as torch.nn.ReLU. "
    else:
        plain = "Use numbers, strings, lists, dicts or arrays. "
    return (
        f"{plain}Or leave it out, and pass it again on loading: save_checkpoint(..., custom_objects=[{name!r}]), "
        f"load_checkpoint(..., custom_objects={{{name!r}: ...}})"
    )


def check_custom_objects(model: BaseAlgorithm, left_out: Iterable[str]) -> None:
    """Raise if the model does not have one of these arguments."""
    for name in left_out:
        if name not in vars(model):
            raise CheckpointError(f"custom_objects names {name!r}, but a {type(model).__name__} has no such argument")
