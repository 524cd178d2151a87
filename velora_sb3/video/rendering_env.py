"""A separate env that renders, in which a model can act as in its training env."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from copy import deepcopy
from operator import attrgetter
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import WrapperSpec, load_env_creator
from gymnasium.wrappers import RecordVideo
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.preprocessing import is_image_space_channels_first
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    StackedObservations,
    SubprocVecEnv,
    VecCheckNan,
    VecEnv,
    VecEnvWrapper,
    VecExtractDictObs,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
    VecVideoRecorder,
)

from velora_sb3._call_env import EnvCallError, EnvOutOfReachError, call_env, innermost, vec_layers

EnvFn = Callable[[], "gym.Env[Any, Any] | VecEnv"]

WRITERS = (Monitor, RecordVideo)  # they write files, which belong to the training env
VEC_WRITERS = (VecMonitor, VecCheckNan, VecVideoRecorder)
PASS_ENV_FN = "pass env_fn=lambda: MyEnv(render_mode='rgb_array')"


def open_video_env(training_env: VecEnv, env_fn: EnvFn | None = None) -> VecEnv:
    """Make a single env that renders RGB arrays and has the training env's wrappers."""
    made = _copy_env(training_env) if env_fn is None else _call(env_fn, training_env)
    try:
        if not isinstance(made, VecEnv):
            single = made
            made = _copy_wrappers(training_env, DummyVecEnv([lambda: single]))
        elif made.observation_space != training_env.observation_space:
            # SB3 has done the same to the training env, if it observes images with the channels last.
            made = BaseAlgorithm._wrap_env(made, verbose=0, monitor_wrapper=False)
        _check(training_env, made)
    except BaseException:
        made.close()
        raise
    return made


def copy_normalization(training_env: VecEnv, venv: VecEnv) -> None:
    """Copy the training env's current normalization statistics; steps of the other env do not update them."""
    for source, target in zip(_normalizers(training_env), _normalizers(venv), strict=True):
        target.training = False
        if source.norm_obs:
            target.obs_rms = deepcopy(source.obs_rms)


def env_metadata(training_env: VecEnv) -> dict[str, Any]:
    """The metadata of the first env; empty if it cannot be sent from its process."""
    try:
        metadata = call_env(training_env, attrgetter("metadata"))
    except EnvOutOfReachError:
        metadata = training_env.get_attr("metadata", 0)[0]
    except EnvCallError:
        metadata = None
    return metadata if isinstance(metadata, dict) else {}


def _call(env_fn: EnvFn, training_env: VecEnv) -> gym.Env[Any, Any] | VecEnv:
    made: object = env_fn()
    if not isinstance(made, gym.Env | VecEnv):
        raise ValueError(f"env_fn must return an env, got {type(made).__name__}")
    trained = {id(env.unwrapped) for env in getattr(innermost(training_env), "envs", [])}
    if not trained.isdisjoint(id(env.unwrapped) for env in getattr(made.unwrapped, "envs", [made])):
        raise ValueError("env_fn returned the training env itself: return a new env")
    return made


def _copy_env(training_env: VecEnv) -> gym.Env[Any, Any]:
    try:
        spec = deepcopy(_spec(training_env))
    except Exception as error:  # anything may be among the arguments of the env, such as functions or locks
        raise ValueError(f"the env cannot be copied: {error}: {_advice(training_env)}") from error
    if spec is None:
        raise ValueError(f"the env cannot be copied, as gymnasium.make did not create it: {_advice(training_env)}")
    wrappers, spec.additional_wrappers = spec.additional_wrappers, ()
    try:
        env = gym.make(spec, render_mode="rgb_array")
        assert env.spec is not None  # gymnasium has just set it
        for wrapper in wrappers[len(env.spec.additional_wrappers) :]:  # the others come with the env
            env = _copy_wrapper(env, wrapper)
    except Exception as error:
        raise ValueError(f"{spec.id} cannot be copied: {error}: {_advice(training_env)}") from error
    return env


def _spec(training_env: VecEnv) -> Any:
    try:
        return call_env(training_env, attrgetter("spec"))
    except EnvOutOfReachError:  # SubprocVecEnv.get_attr would end the process if the spec cannot be sent
        return None if isinstance(training_env.unwrapped, SubprocVecEnv) else training_env.get_attr("spec", 0)[0]


def _advice(training_env: VecEnv) -> str:
    """How to get videos of an env that cannot be copied."""
    modes = list(env_metadata(training_env).get("render_modes") or [])
    if "rgb_array" in modes:
        return PASS_ENV_FN
    return (
        f"its metadata['render_modes'] is {modes}, without 'rgb_array', and only an env whose render() returns RGB "
        "arrays can be recorded; if there is such an env, pass env_fn=lambda: MyEnv(...)"
    )


def _copy_wrapper(env: gym.Env[Any, Any], wrapper: WrapperSpec) -> gym.Env[Any, Any]:
    kind: Any = load_env_creator(wrapper.entry_point)
    if issubclass(kind, WRITERS):
        return env
    if wrapper.kwargs is not None:
        wrapped: gym.Env[Any, Any] = kind(env=env, **wrapper.kwargs)
    elif len(inspect.signature(kind).parameters) == 1:  # nothing but the env
        wrapped = kind(env)
    else:  # with other arguments the env might observe something else, in the same shape
        raise ValueError(f"{wrapper.name} does not record its arguments (see gymnasium.utils.RecordConstructorArgs)")
    return wrapped


def _copy_wrappers(training_env: VecEnv, venv: VecEnv) -> VecEnv:
    try:
        for wrapper in reversed([layer for layer in vec_layers(training_env) if isinstance(layer, VecEnvWrapper)]):
            venv = _copy_vec_wrapper(wrapper, venv)
    except AssertionError as error:  # SB3's check of the spaces
        raise ValueError(f"the env for videos does not take the training env's wrappers: {error}") from error
    return venv


def _copy_vec_wrapper(wrapper: VecEnvWrapper, venv: VecEnv) -> VecEnv:
    if isinstance(wrapper, VecNormalize):
        normalizer = deepcopy(wrapper)
        normalizer.set_venv(venv)
        return normalizer
    kind = type(wrapper)  # a subclass may do anything
    if kind is VecTransposeImage:
        space = venv.observation_space
        if isinstance(space, gym.spaces.Box) and not wrapper.skip and is_image_space_channels_first(space):
            return venv
        return VecTransposeImage(venv, skip=wrapper.skip)
    if kind is VecFrameStack:
        return VecFrameStack(venv, wrapper.stacked_obs.n_stack, _channels_order(wrapper.stacked_obs))
    if kind is VecExtractDictObs:
        return VecExtractDictObs(venv, wrapper.key)
    if kind in VEC_WRITERS:
        return venv
    raise ValueError(
        f"{kind.__name__} cannot be copied: return it from env_fn, as in "
        f"env_fn=lambda: {kind.__name__}(DummyVecEnv([lambda: MyEnv(render_mode='rgb_array')]))"
    )


def _channels_order(stacked: StackedObservations[Any]) -> Any:
    if isinstance(stacked.observation_space, gym.spaces.Dict):
        return {key: _channels_order(part) for key, part in stacked.sub_stacked_observations.items()}
    return "first" if stacked.channels_first else "last"


def _check(training_env: VecEnv, venv: VecEnv) -> None:
    if venv.num_envs != 1 or not isinstance(venv.unwrapped, DummyVecEnv):
        raise ValueError(
            f"env_fn must return a DummyVecEnv of 1 env, got {type(venv.unwrapped).__name__} of {venv.num_envs}"
        )
    if venv.render_mode != "rgb_array":
        raise ValueError(f"env_fn must return an env with render_mode='rgb_array', got {venv.render_mode!r}")
    observed = training_env.observation_space, venv.observation_space
    acted = innermost(training_env).action_space, venv.unwrapped.action_space  # a copied VecNormalize keeps its own
    for name, (trained, copied) in (("observation_space", observed), ("action_space", acted)):
        if trained != copied:
            raise ValueError(f"the env for videos must have the training env's {name} {trained}, got {copied}")
    count, trained_count = len(list(_normalizers(venv))), len(list(_normalizers(training_env)))
    if count != trained_count:
        raise ValueError(f"env_fn must return an env with {trained_count} VecNormalize as in training, got {count}")


def _normalizers(env: VecEnv) -> Iterator[VecNormalize]:
    return (layer for layer in vec_layers(env) if isinstance(layer, VecNormalize))
