"""The state of vectorized environments with their wrappers."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import gymnasium as gym
from stable_baselines3.common.vec_env import (
    VecCheckNan,
    VecEnv,
    VecExtractDictObs,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
    VecVideoRecorder,
)
from stable_baselines3.common.vec_env.stacked_observations import StackedObservations

from velora_sb3._call_env import EnvCallError, EnvOutOfReachError, call_env, vec_layers
from velora_sb3._normalization import ObservationStatistics
from velora_sb3.checkpoints.format.encoding import Decoder, Encoder
from velora_sb3.checkpoints.format.errors import CheckpointError, NotPlainError
from velora_sb3.checkpoints.state.env import Captured, capture_env, differences, has_state_methods, restore_env

LEARNED = ("obs_rms", "ret_rms")
STATISTICS = (*LEARNED, "returns", "old_obs", "old_reward")
SETTINGS = ("norm_obs", "norm_reward", "clip_obs", "clip_reward", "gamma", "epsilon", "norm_obs_keys")
STATELESS = (VecCheckNan, VecExtractDictObs, VecTransposeImage, VecVideoRecorder)
NOT_SAVED = "the checkpoint holds the model without its environments"


def capture_vec_env(venv: VecEnv, encoder: Encoder, where: str) -> dict[str, Any]:
    """The state of vectorized environments."""
    wrappers, lost = [], None
    *outer, base = vec_layers(venv)
    for number, wrapper in enumerate(outer):
        described: dict[str, Any] = {"class": type(wrapper).__name__}
        try:
            described["state"] = encoder.encode(_wrapper_state(wrapper), f"{where}.{number}.{type(wrapper).__name__}")
        except (NotPlainError, CheckpointError) as error:
            lost = str(error)
        except Exception as error:  # from get_state(), which may ask environments that are gone
            lost = f"{type(wrapper).__name__}: {error!r}"
        if isinstance(wrapper, VecNormalize):
            described["settings"] = _settings(wrapper, encoder)
        wrappers.append(described)
    envs = []
    for index, (env, arrays) in enumerate(_capture_each(base)):
        if env.get("wrong"):
            raise CheckpointError(env["wrong"])
        lost = lost or env["lost"]
        encoder.arrays.update({f"{where}.env {index}/{name}": array for name, array in arrays.items()})
        envs.append(env)
    try:
        waiting = encoder.encode({"seeds": list(base._seeds), "options": list(base._options)}, f"{where}.waiting")
    except (NotPlainError, AttributeError):  # options for a reset that is still to come; not one of SB3's classes
        waiting = {"seeds": [None] * base.num_envs, "options": [{} for _ in range(base.num_envs)]}
    return {"class": type(base).__name__, "wrappers": wrappers, "envs": envs, "waiting": waiting, "lost": lost}


def capture_statistics(venv: VecEnv, encoder: Encoder, where: str) -> dict[str, Any]:
    """What a model needs of vectorized environments: the statistics of ``VecNormalize``; nothing of the rest."""
    wrappers = []
    *outer, base = vec_layers(venv)
    for number, wrapper in enumerate(outer):
        described: dict[str, Any] = {"class": type(wrapper).__name__}
        if isinstance(wrapper, VecNormalize):
            learned = {name: vars(wrapper)[name] for name in LEARNED if name in vars(wrapper)}
            described["state"] = encoder.encode(learned, f"{where}.{number}.VecNormalize")
            described["settings"] = _settings(wrapper, encoder)
        wrappers.append(described)
    envs: list[dict[str, Any]] = [{"id": None, "layers": [], "lost": NOT_SAVED}] * base.num_envs
    waiting = encoder.encode({"seeds": [None] * base.num_envs, "options": [{}] * base.num_envs}, f"{where}.waiting")
    return {"class": type(base).__name__, "wrappers": wrappers, "envs": envs, "waiting": waiting, "lost": NOT_SAVED}


def restore_statistics(venv: VecEnv, described: dict[str, Any], decoder: Decoder) -> None:
    """Restore the statistics of ``VecNormalize``; warn if there is none around the environments."""
    normalizers = [layer for layer in vec_layers(venv) if isinstance(layer, VecNormalize)]
    saved = [one for one in described["wrappers"] if one["class"] == "VecNormalize" and "state" in one]
    if len(normalizers) != len(saved):
        warnings.warn(
            f"the model was trained under {len(saved)} VecNormalize, but its environments have "
            f"{len(normalizers)}: wrap them as in training",
            stacklevel=6,
        )
        return
    states = [decoder.decode(one["state"]) for one in saved]
    learned = [{name: state[name] for name in LEARNED if name in state} for state in states]
    if any(_shapes(vars(layer)) != _shapes(one) for layer, one in zip(normalizers, learned, strict=True)):
        warnings.warn(
            "the model was trained under VecNormalize of other shapes than its environments have: wrap them as in "
            "training",
            stacklevel=6,
        )
        return
    for layer, one in zip(normalizers, learned, strict=True):
        vars(layer).update(one)


def _shapes(attributes: dict[str, Any]) -> dict[str, Any]:
    """The shapes of what a ``VecNormalize`` has learned, by attribute, and by key of a Dict observation."""
    found = {name: attributes[name] for name in LEARNED if name in attributes}
    return {
        name: {key: one.mean.shape for key, one in (part.items() if isinstance(part, dict) else [("", part)])}
        for name, part in found.items()
    }


def restore_vec_env(venv: VecEnv, described: dict[str, Any], decoder: Decoder, where: str, with_episode: bool) -> None:
    """Restore the state of vectorized environments, or with ``with_episode=False`` what outlives an episode."""
    *outer, base = vec_layers(venv)
    if with_episode:
        venv.reset()  # some environments accept a state only after a reset
    for wrapper, state in zip(outer, described["wrappers"], strict=True):
        if "state" in state and (with_episode or isinstance(wrapper, VecNormalize)):
            _restore_wrapper(wrapper, decoder.decode(state["state"]))
    captured = []
    for index, env in enumerate(described["envs"]):
        prefix = f"{where}.env {index}/"
        arrays = {n.removeprefix(prefix): decoder.array(n) for n in decoder.arrays if n.startswith(prefix)}
        captured.append((env, arrays))
    _restore_each(base, captured, with_episode)
    if hasattr(base, "_seeds"):
        waiting = decoder.decode(described["waiting"])
        base._seeds, base._options = waiting["seeds"], waiting["options"]


def vec_differences(venv: VecEnv, described: dict[str, Any]) -> str | None:
    """How vectorized environments differ from those of a checkpoint."""
    *outer, base = vec_layers(venv)
    names, saved = [type(one).__name__ for one in outer], [one["class"] for one in described["wrappers"]]
    if names != saved:
        return f"the vectorized environments are wrapped in {names}, the checkpoint's were in {saved}"
    if not all(env["layers"] for env in described["envs"]):
        return None
    try:
        found: list[str | None] = _ask_each(base, [partial(differences, described=env) for env in described["envs"]])
    except CheckpointError as error:
        return str(error)
    return next((difference for difference in found if difference is not None), None)


def wrapped_as_saved(venv: VecEnv, described: dict[str, Any], decoder: Decoder) -> VecEnv:
    """Put the ``VecNormalize`` around environments that they lack, if the checkpoint has its statistics."""
    names = [type(one).__name__ for one in vec_layers(venv)][:-1]
    saved = [one["class"] for one in described["wrappers"]]
    lacking = len(saved) - len(names)
    if lacking > 0 and saved == ["VecNormalize"] * lacking + names:
        for one in reversed(described["wrappers"][:lacking]):
            settings = {name: decoder.decode(value) for name, value in one["settings"].items() if name in SETTINGS}
            venv = VecNormalize(venv, **settings)
    return venv


def saved_statistics(described: dict[str, Any], decoder: Decoder) -> ObservationStatistics | None:
    """The statistics of the ``VecNormalize`` in a checkpoint that normalizes observations; None if there is none."""
    for wrapper in described["wrappers"]:
        if wrapper["class"] == "VecNormalize" and "state" in wrapper:
            settings = {name: decoder.decode(wrapper["settings"][name]) for name in ("norm_obs", "epsilon", "clip_obs")}
            if not settings.pop("norm_obs"):
                continue  # rewards only
            found = decoder.decode(wrapper["state"])["obs_rms"]
            return ObservationStatistics.from_parts(found, settings["epsilon"], settings["clip_obs"])
    return None


def _settings(wrapper: VecNormalize, encoder: Encoder) -> dict[str, Any]:
    return {name: encoder.encode(getattr(wrapper, name), name) for name in SETTINGS}


def _wrapper_state(wrapper: VecEnv) -> Any:
    if isinstance(wrapper, VecNormalize):
        return {name: vars(wrapper)[name] for name in STATISTICS if name in vars(wrapper)}
    if isinstance(wrapper, VecFrameStack):
        return {key: stack.stacked_obs for key, stack in _stacks(wrapper.stacked_obs).items()}
    if isinstance(wrapper, VecMonitor):
        counted = {name: getattr(wrapper, name) for name in ("episode_returns", "episode_lengths", "episode_count")}
        return {**counted, "age": time.time() - wrapper.t_start}
    if isinstance(wrapper, STATELESS):
        return {}
    if has_state_methods(wrapper):
        return wrapper.get_state()  # type: ignore[attr-defined]
    name = type(wrapper).__name__
    raise CheckpointError(f"{name} does not expose its state: give it the methods get_state() and set_state(state)")


def _restore_wrapper(wrapper: VecEnv, state: Any) -> None:
    if isinstance(wrapper, VecNormalize):
        vars(wrapper).update({name: value for name, value in state.items() if name in STATISTICS})
    elif isinstance(wrapper, VecFrameStack):
        for key, stack in _stacks(wrapper.stacked_obs).items():
            stack.stacked_obs = state[key]
    elif isinstance(wrapper, VecMonitor):
        wrapper.episode_returns, wrapper.episode_lengths = state["episode_returns"], state["episode_lengths"]
        wrapper.episode_count, wrapper.t_start = state["episode_count"], time.time() - float(state["age"])
    elif not isinstance(wrapper, STATELESS):
        wrapper.set_state(state)  # type: ignore[attr-defined]


def _stacks(stacked: StackedObservations[Any]) -> dict[str, StackedObservations[Any]]:
    """Frame stacks by the key of a Dict observation."""
    return vars(stacked).get("sub_stacked_observations") or {"": stacked}


# The environments themselves, in this process or in their own.


def _ask_each(base: VecEnv, functions: Iterable[Callable[[gym.Env[Any, Any]], Any]]) -> list[Any]:
    """Call a function with each environment, in whichever process it is."""
    try:
        return [call_env(base, function, index) for index, function in enumerate(functions)]
    except EnvOutOfReachError as error:
        raise CheckpointError(
            f"{type(base).__name__} gives no access to the state of its environments: use SB3's DummyVecEnv, or "
            "SubprocVecEnv with a Monitor around each environment, as make_vec_env does"
        ) from error
    except EnvCallError as error:
        raise CheckpointError(str(error)) from error


def _capture_each(base: VecEnv) -> list[Captured]:
    try:
        return _ask_each(base, [capture_env] * base.num_envs)
    except CheckpointError as error:
        lost = str(error)
    except Exception as error:  # a worker process that has ended, or a class that only resembles SB3's
        lost = f"{type(base).__name__} cannot be asked for the state of its environments ({_reason(error)})"
    return [({"id": None, "layers": [], "lost": lost}, {})] * base.num_envs


def _reason(error: Exception) -> str:
    if isinstance(error, EOFError | ConnectionError):
        return f"{type(error).__name__}: a worker process has ended"
    return f"{type(error).__name__}: {error}"


def _restore_each(base: VecEnv, captured: list[Captured], with_episode: bool) -> None:
    if all(env["layers"] for env, _ in captured):
        _ask_each(base, [partial(_restore, captured=one, with_episode=with_episode) for one in captured])


def _restore(env: gym.Env[Any, Any], captured: Captured, with_episode: bool) -> None:
    try:
        restore_env(env, captured, with_episode)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise CheckpointError(f"an environment could not restore its state: {reason}") from error
