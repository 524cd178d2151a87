"""The hooks of an ``EpisodeCallback`` and their arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

Hook = Callable[..., Any]

EPISODE = ("episode", "env_runner", "metrics_logger", "env", "env_index", "rl_module", "algorithm")
EVALUATION = ("algorithm", "metrics_logger", "evaluation")
# The hooks in the order of their first call, and the arguments of each, all by keyword.
HOOKS = {
    "on_algorithm_init": ("algorithm", "metrics_logger"),
    "on_environment_created": ("env_runner", "metrics_logger", "env", "env_context", "algorithm"),
    "on_checkpoint_loaded": ("algorithm", "metrics_logger"),
    "on_episode_created": EPISODE,
    "on_episode_start": EPISODE,
    "on_episode_step": EPISODE,
    "on_episode_end": (*EPISODE, "prev_episode_chunks"),
    "on_sample_end": ("env_runner", "metrics_logger", "samples", "algorithm"),
    "on_train_result": ("algorithm", "metrics_logger", "result"),
    "on_evaluate_start": EVALUATION,
    "on_evaluate_end": (*EVALUATION, "evaluation_metrics"),
}
EPISODE_HOOKS = tuple(name for name in HOOKS if name.startswith("on_episode"))
EVALUATION_HOOKS = ("on_evaluate_start", "on_evaluate_end")


def fit(hook: str, function: Hook) -> Hook:
    """Wrap a function so that it can be called with all arguments of a hook."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # some C functions have no signature
        return function
    by_name = [one for one in parameters if one.kind in (one.KEYWORD_ONLY, one.POSITIONAL_OR_KEYWORD)]
    needed = [one.name for one in by_name if one.default is one.empty]
    needed += [one.name for one in parameters if one.kind is one.POSITIONAL_ONLY and one.default is one.empty]
    names = {one.name for one in by_name} & set(HOOKS[hook])
    if missing := [name for name in needed if name not in names]:
        raise TypeError(
            f"{hook} cannot call {function!r}: it requires {', '.join(missing)}; available, by keyword: "
            f"{', '.join(HOOKS[hook])}"
        )
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return function
    return partial(_call_by_name, function, frozenset(names))  # unlike a lambda, it can be pickled


def _call_by_name(function: Hook, names: frozenset[str], /, **kwargs: Any) -> Any:
    return function(**{name: kwargs[name] for name in names if name in kwargs})
