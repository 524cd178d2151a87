"""The state of one environment with its wrappers.

This runs where the environment does, also in the processes of a ``SubprocVecEnv``; only plain data goes in and out.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.wrappers import (
    NormalizeObservation,
    NormalizeReward,
    OrderEnforcing,
    PassiveEnvChecker,
    RecordEpisodeStatistics,
    TimeLimit,
)
from stable_baselines3.common.monitor import Monitor

from velora_sb3.checkpoints.format.encoding import Decoder, Encoder
from velora_sb3.checkpoints.format.errors import CheckpointError, NotPlainError
from velora_sb3.checkpoints.format.spaces import restore_space_random, space_random
from velora_sb3.checkpoints.state.mujoco import is_mujoco, mujoco_state, restore_mujoco

Layer = gym.Env[Any, Any]
Captured = tuple[dict[str, Any], dict[str, Any]]  # JSON, and arrays by name

# What changes during an episode, in known wrappers.
ATTRIBUTES: dict[type, tuple[str, ...]] = {
    TimeLimit: ("_elapsed_steps",),
    OrderEnforcing: ("_has_reset",),
    PassiveEnvChecker: ("checked_reset", "checked_step", "checked_render"),
    RecordEpisodeStatistics: (
        "episode_count", "episode_returns", "episode_lengths", "return_queue", "length_queue", "time_queue",
    ),
    Monitor: (
        "rewards", "needs_reset", "total_steps", "current_reset_info",
        "episode_returns", "episode_lengths", "episode_times",
    ),
}  # fmt: skip
# What wrappers have learned; it survives an episode that is lost.
STATISTICS: dict[type, str] = {NormalizeObservation: "obs_rms", NormalizeReward: "return_rms"}
# The same in Gymnasium's environments, by their package.
ENVIRONMENTS = {
    "gymnasium.envs.classic_control.": ("state", "last_u", "steps_beyond_terminated"),
    "gymnasium.envs.toy_text.": (
        "s", "lastaction", "fickle_step", "taxi_orientation",
        "dealer", "player", "dealer_top_card_suit", "dealer_top_card_value_str",
    ),
}  # fmt: skip

# What constructors of gymnasium set.
SET_UP = frozenset({
    "env", "spec", "metadata", "render_mode", "action_space", "observation_space", "_action_space",
    "_observation_space", "_metadata", "_cached_spec", "_saved_kwargs", "_np_random", "_np_random_seed",
})  # fmt: skip

FIXED = (type, partial, np.ufunc, gym.Space, gym.Env, EnvSpec)

REMEDY = (
    "give {name} the methods get_state(), which returns all that an episode depends on as numbers, arrays, lists and "
    "dicts, and set_state(state), which restores it"
)


def layers(env: Layer) -> Iterator[Layer]:
    """An environment's wrappers, the outermost first, and the environment itself."""
    yield env
    while isinstance(env, gym.Wrapper):
        env = env.env
        yield env


def capture_env(env: Layer) -> Captured:
    """The state of an environment."""
    encoder = Encoder()
    states: list[Any] = []
    lost: str | None = None
    wrong: str | None = None
    for number, layer in enumerate(layers(env)):
        where = f"{number}.{type(layer).__name__}"
        state: dict[str, Any] = {"class": type(layer).__name__}
        if hasattr(type(layer), "_checkpoint_key"):
            state["key"] = layer._checkpoint_key  # type: ignore[attr-defined]
        try:
            state["random"] = encoder.encode(_random(layer), f"{where}.random")
            state["state"] = encoder.encode(_state(layer), where)
        except NotPlainError as error:
            lost = f"{error}: {REMEDY.format(name=type(layer).__name__)}"
            wrong = lost if has_state_methods(layer) else wrong
        except Exception as error:  # from get_state(); it must not end the process of a SubprocVecEnv
            lost = str(error) if isinstance(error, CheckpointError) else f"{type(layer).__name__}: {error!r}"
        states.append(state)
    spec = env.unwrapped.spec
    return {"id": None if spec is None else spec.id, "layers": states, "lost": lost, "wrong": wrong}, encoder.arrays


def restore_env(env: Layer, captured: Captured, with_episode: bool) -> None:
    """Restore the state of an environment; with ``with_episode=False`` its random state and learned statistics."""
    described, arrays = captured
    decoder = Decoder(arrays)
    for layer, state in zip(layers(env), described["layers"], strict=True):
        if with_episode:
            _set_state(layer, decoder.decode(state["state"]))
        elif type(layer) in STATISTICS and "state" in state:
            name = STATISTICS[type(layer)]
            _set_state(layer, {"attributes": {name: decoder.decode(state["state"])["attributes"][name]}})
        if "random" in state:
            _set_random(layer, decoder.decode(state["random"]))


def differences(env: Layer, described: dict[str, Any]) -> str | None:
    """How an environment differs from that of a checkpoint."""
    names, saved = [type(layer).__name__ for layer in layers(env)], [state["class"] for state in described["layers"]]
    if names != saved:
        return f"the environment is {' of '.join(names)}, the checkpoint's was {' of '.join(saved)}"
    spec = env.unwrapped.spec
    if spec is not None and spec.id != described["id"]:
        return f"the environment is {spec.id}, the checkpoint's was {described['id']}"
    for layer, state in zip(layers(env), described["layers"], strict=True):
        if "key" in state and getattr(layer, "_checkpoint_key", None) != state["key"]:
            return f"the {type(layer).__name__} does not have the same data as the checkpoint's"
    return None


def _state(layer: Layer) -> Any:
    """A layer's part of the state of the episode."""
    own = type(layer)
    if has_state_methods(layer):
        return {"own": layer.get_state()}  # type: ignore[attr-defined]
    if is_mujoco(layer):
        return {"mujoco": mujoco_state(layer)}
    for package, names in ENVIRONMENTS.items():
        if own.__module__.startswith(package):
            return {"attributes": {name: value for name, value in vars(layer).items() if name in names}}
    if own in ATTRIBUTES:
        state = {"attributes": {name: getattr(layer, name) for name in ATTRIBUTES[own] if hasattr(layer, name)}}
        return {**state, "age": time.time() - layer.t_start} if isinstance(layer, Monitor) else state
    if own.__module__ == "gymnasium.wrappers.rendering":
        return {"attributes": {}}
    if isinstance(layer, gym.Wrapper):
        return {"attributes": {name: value for name, value in vars(layer).items() if _may_change(name, value)}}
    raise CheckpointError(f"{own.__name__} does not expose its state: {REMEDY.format(name=own.__name__)}")


def has_state_methods(layer: Any) -> bool:
    """Whether an environment or a wrapper defines both methods itself."""
    return hasattr(type(layer), "get_state") and hasattr(type(layer), "set_state")


def _may_change(name: str, value: Any) -> bool:
    """Whether a wrapper's attribute can be state; functions, spaces and classes belong to its construction."""
    return name not in SET_UP and not inspect.isroutine(value) and not isinstance(value, FIXED)


def _set_state(layer: Layer, state: dict[str, Any]) -> None:
    if "own" in state:
        layer.set_state(state["own"])  # type: ignore[attr-defined]
    elif "mujoco" in state:
        restore_mujoco(layer, state["mujoco"])
    for name, value in state.get("attributes", {}).items():
        if name in SET_UP or callable(getattr(layer, name, None)):
            raise CheckpointError(f"it sets {name!r} of {type(layer).__name__}, which is not part of its state")
        present = vars(layer).get(name)
        if isinstance(present, np.random.Generator) and isinstance(value, np.random.Generator):
            _set_generator(present, value)  # in place: it may be shared
        else:
            setattr(layer, name, value)
    if isinstance(layer, Monitor):
        layer.t_start = time.time() - float(state["age"])


def _random(layer: Layer) -> dict[str, Any]:
    """A layer's generators: those of its spaces, and the environment's own."""
    spaces = {name: space_random(value) for name, value in vars(layer).items() if isinstance(value, gym.Space)}
    if isinstance(layer, gym.Wrapper):
        return {"spaces": spaces}
    return {"spaces": spaces, "generator": layer._np_random, "seed": layer._np_random_seed}


def _set_random(layer: Layer, saved: dict[str, Any]) -> None:
    for name, value in vars(layer).items():
        if isinstance(value, gym.Space) and name in saved["spaces"]:
            restore_space_random(value, saved["spaces"][name])
    if not isinstance(layer, gym.Wrapper):
        if layer._np_random is not None and saved["generator"] is not None:
            _set_generator(layer._np_random, saved["generator"])
        else:
            layer._np_random = saved["generator"]
        layer._np_random_seed = saved["seed"]


def _set_generator(present: np.random.Generator, saved: np.random.Generator) -> None:
    present.bit_generator.state = saved.bit_generator.state
