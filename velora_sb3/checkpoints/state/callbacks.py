"""The states of callbacks."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    ConvertCallback,
    EvalCallback,
    EveryNTimesteps,
    StopTrainingOnMaxEpisodes,
    StopTrainingOnNoModelImprovement,
)
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.vec_env import VecEnv

from velora_sb3.checkpoints.format.encoding import Decoder, Encoder
from velora_sb3.checkpoints.format.errors import CheckpointError, NotPlainError
from velora_sb3.checkpoints.state.vec_env import capture_vec_env, restore_vec_env, vec_differences

# The state of SB3's callbacks. Others have a state_dict().
COUNTERS: dict[type[BaseCallback], tuple[str, ...]] = {
    EvalCallback: (
        "best_mean_reward", "last_mean_reward", "evaluations_timesteps", "evaluations_results", "evaluations_length",
        "evaluations_successes",
    ),
    EveryNTimesteps: ("last_time_trigger",),
    StopTrainingOnMaxEpisodes: ("n_episodes",),
    StopTrainingOnNoModelImprovement: ("last_best_mean_reward", "no_improvement_evals"),
}  # fmt: skip

RUN_IDS = ("run_id", "experiment_key")


class Transient(BaseCallback):
    """A callback that this package adds for a while; it is not stored."""


def as_callback(callback: MaybeCallback) -> BaseCallback:
    """Whatever ``learn`` accepts as callbacks, as one callback."""
    if isinstance(callback, list):
        return CallbackList(callback)
    return callback if isinstance(callback, BaseCallback) else ConvertCallback(callback)


def walk(callback: BaseCallback) -> Iterator[BaseCallback]:
    """A callback and everything in it, without the lists that hold them."""
    if isinstance(callback, CallbackList):
        for child in callback.callbacks:
            yield from walk(child)
        return
    yield callback
    for name in ("callback_on_new_best", "callback"):
        held = getattr(callback, name, None)
        if isinstance(held, BaseCallback):
            yield from walk(held)


def named_callbacks(callback: BaseCallback) -> Iterator[tuple[str, BaseCallback]]:
    """A callback and its children, named by class and number within the class."""
    seen: Counter[str] = Counter()
    for one in walk(callback):
        if not isinstance(one, Transient):
            kind = type(one).__name__
            seen[kind] += 1
            yield f"{kind} {seen[kind]}", one


def capture_callbacks(callback: BaseCallback, training_env: VecEnv | None, encoder: Encoder) -> dict[str, Any]:
    """The states of callbacks."""
    states = {}
    for name, one in named_callbacks(callback):
        state: dict[str, Any] = {}
        try:
            state["counters"] = {key: encoder.encode(getattr(one, key), f"{name}.{key}") for key in _counters(one)}
            if _has_state(one):
                state["own"] = encoder.encode(one.state_dict(), name)  # type: ignore[attr-defined]
        except NotPlainError as error:
            raise CheckpointError(f"state_dict() of {name} must return plain data: {error}") from error
        except (EOFError, OSError) as error:  # it asked an environment that is gone
            warnings.warn(f"the state of {name} is not in the checkpoint: {error!r}", RuntimeWarning, stacklevel=4)
        evaluated = getattr(one, "eval_env", None)
        if isinstance(evaluated, VecEnv) and evaluated is not training_env:
            state["eval_env"] = capture_vec_env(evaluated, encoder, f"{name}.eval_env")
        states[name] = state
    return states


def restore_callbacks(
    callback: BaseCallback, states: dict[str, Any], decoder: Decoder, discard_episodes: bool = False
) -> None:
    """Restore the states of callbacks, before they are passed to ``learn``."""
    present = dict(named_callbacks(callback))
    for name, one in present.items():
        state = states.get(name, {})
        for key, value in state.get("counters", {}).items():
            if key in _counters(one):
                setattr(one, key, decoder.decode(value))
        if "own" in state and _has_state(one):
            one.load_state_dict(decoder.decode(state["own"]))  # type: ignore[attr-defined]
        if discard_episodes and hasattr(one, "discard_running_episodes"):
            one.discard_running_episodes()
        evaluated = getattr(one, "eval_env", None)
        if "eval_env" in state and isinstance(evaluated, VecEnv):
            same = evaluated.num_envs == len(state["eval_env"]["envs"])
            if same and vec_differences(evaluated, state["eval_env"]) is None:
                restore_vec_env(evaluated, state["eval_env"], decoder, f"{name}.eval_env", with_episode=False)
    stateful = [name for name, state in states.items() if "own" in state or len(state["counters"]) > 1]
    if missing := [name for name in stateful if name not in present]:
        warnings.warn(
            f"the checkpoint has the state of {', '.join(missing)}, but there is no such callback: pass the original "
            "callbacks to resume the run exactly",
            stacklevel=3,
        )


def run_ids(callback: BaseCallback) -> dict[str, Any]:
    """Ids of the runs that experiment trackers log to."""
    found = {}
    for name, one in named_callbacks(callback):
        for attribute in RUN_IDS:
            if isinstance(run_id := getattr(one, attribute, None), str | int):
                found[name] = run_id
    return found


def _has_state(callback: BaseCallback) -> bool:
    return hasattr(callback, "state_dict") and hasattr(callback, "load_state_dict")


def _counters(callback: BaseCallback) -> list[str]:
    return ["n_calls", *(name for kind, names in COUNTERS.items() if isinstance(callback, kind) for name in names)]
