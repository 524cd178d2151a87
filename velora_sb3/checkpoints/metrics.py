"""The metrics that rank checkpoints. Each value counts for the first checkpoint after it: later ones are other weights.

A value is known by the object that it comes from, which SB3 replaces with each new one, or by the token of its write.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback

from velora_sb3._logger_writes import latest_write
from velora_sb3.checkpoints.format.files import Manifest
from velora_sb3.checkpoints.state.callbacks import named_callbacks

Sources = dict[str, object]


class _Saved(NamedTuple):
    """The newest checkpoint of a model in a directory."""

    weights: tuple[int, int | None]  # timesteps and updates: another checkpoint of these has the same values
    sources: Sources
    earlier: Sources  # those that belong to checkpoints of other weights


_SAVED: WeakKeyDictionary[BaseAlgorithm, dict[Path, _Saved]] = WeakKeyDictionary()


def new_metrics(
    model: BaseAlgorithm, callback: BaseCallback, metrics: Mapping[str, float] | None, directory: Path
) -> dict[str, float]:
    """The caller's metrics, and those of the model and its callbacks that belong to no earlier checkpoint.

    Args:
        model: The model.
        callback: Its callbacks.
        metrics: The caller's. They take precedence; NaN leaves a metric out.
        directory: The directory that holds the checkpoints.
    """
    sources, values = _current(model, callback)
    known = _known(model, directory)
    found = {name: value for name, value in values.items() if known.get(name) is not sources[name]}
    return {name: float(value) for name, value in {**found, **(metrics or {})}.items() if math.isfinite(value)}


def metrics_are_old(model: BaseAlgorithm, callback: BaseCallback, directory: Path) -> None:
    """Note that the current values, as of an ``EvalCallback`` that evaluated another model, belong to no checkpoint."""
    sources, _ = _current(model, callback)
    _note(model, directory, sources, sources)


def metrics_are_saved(model: BaseAlgorithm, callback: BaseCallback, directory: Path) -> None:
    """Note that the current values belong to a checkpoint that was written to ``directory``."""
    _note(model, directory, _current(model, callback)[0], _known(model, directory))


def metrics_are_loaded(model: BaseAlgorithm, callback: BaseCallback, manifest: Manifest) -> None:
    """Note that the current values belong to a checkpoint that was loaded, or to one before it."""
    sources, _ = _current(model, callback)
    earlier = {name: source for name, source in sources.items() if name not in manifest.metrics}
    _note(model, manifest.path.parent, sources, earlier)


def _note(model: BaseAlgorithm, directory: Path, sources: Sources, earlier: Sources) -> None:
    _SAVED.setdefault(model, {})[directory.absolute()] = _Saved(_weights(model), sources, earlier)


def _known(model: BaseAlgorithm, directory: Path) -> Sources:
    saved = _SAVED.get(model, {}).get(directory.absolute())
    if saved is None:
        return {}
    return saved.earlier if saved.weights == _weights(model) else saved.sources


def _weights(model: BaseAlgorithm) -> tuple[int, int | None]:
    return model.num_timesteps, getattr(model, "_n_updates", None)


def _current(model: BaseAlgorithm, callback: BaseCallback) -> tuple[Sources, dict[str, float]]:
    """What each value comes from, and the values."""
    values: dict[str, float] = {}
    sources: Sources = {}
    if getattr(model, "_logger", None) is not None:
        log = model.logger.name_to_value
        values = {name: value for name, value in log.items() if isinstance(value, int | float | np.number)}
        sources = {name: latest_write(model.logger, name) for name in values}
    if model.ep_info_buffer and "r" in model.ep_info_buffer[0]:
        sources["rollout/ep_rew_mean"] = model.ep_info_buffer[-1]
        with np.errstate(invalid="ignore"):  # infinite returns
            values["rollout/ep_rew_mean"] = np.mean([info["r"] for info in model.ep_info_buffer])
    for _, one in named_callbacks(callback):
        if isinstance(one, EvalCallback):
            sources["eval/mean_reward"] = values["eval/mean_reward"] = one.last_mean_reward
    return sources, values
