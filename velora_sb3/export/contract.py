"""``policy.json``: what an exported policy takes and returns."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from velora_sb3._atomic import write_json
from velora_sb3._normalization import ObservationStatistics
from velora_sb3._optional import installed_version, versions
from velora_sb3.checkpoints import atomic_directory
from velora_sb3.checkpoints.format.files import sha256
from velora_sb3.export.observations import TIMESPANS
from velora_sb3.export.step import EPISODE_START, MASKS, NOISE, STATE_IN, STATE_OUT, PolicyStep

FORMAT, SCHEMA = "velora-sb3 exported policy", 1
CONTRACT, PARITY = "policy.json", "parity.json"
TIME_UNIT = "time since the last observation, in the environment's time unit; 1 is one step of a regular environment"


@contextmanager
def export_directory(directory: str | Path) -> Iterator[Path]:
    """A new folder, or one in place of an earlier export; complete or absent."""
    path = Path(directory)
    empty = path.is_dir() and not path.is_symlink() and not any(path.iterdir())
    if (path.exists() or path.is_symlink()) and not (empty or is_export(path)):
        raise ValueError(f"{path} exists and is not an exported policy: choose another directory, or move it away")
    with atomic_directory(path, may_replace=lambda _: True) as partial:
        yield partial


def is_export(path: Path) -> bool:
    """Whether a directory is one that an export wrote."""
    try:
        content = json.loads((path / CONTRACT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("format") == FORMAT


def write_contract(
    directory: Path,
    target: str,
    model: Any,
    step: PolicyStep,
    statistics: ObservationStatistics | None,
    details: dict[str, Any],
    tools: tuple[str, ...] = (),
) -> None:
    """Describe the files that are in a directory; the description comes last."""
    files = {
        path.name: {"size": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(directory.iterdir())
        if path.name != CONTRACT
    }
    used = {**versions(), **{tool: installed_version(tool) for tool in tools}}
    write_json(
        directory / CONTRACT,
        {
            "format": FORMAT,
            "schema": SCHEMA,
            "target": target,
            "algorithm": type(model).__name__,
            "policy": type(model.policy).__name__,
            "timesteps": int(model.num_timesteps),
            "deterministic": step.deterministic,
            "inputs": describe_inputs(step),
            "outputs": describe_outputs(step),
            "observation_keys": [entry.key for entry in step.entries if entry.key],
            "action_space": _describe_space(step.action.space),
            "state": {
                "size": step.state_size,
                "memory": step.memory_size,
                "previous_action": step.previous_size,
                "reset": "zero; episode_start does it inside" if step.state_size else "there is none",
            },
            "time_unit": TIME_UNIT if step.timed else None,
            "normalization": None if statistics is None else statistics.as_json(),
            **details,
            "versions": {name: version for name, version in used.items() if version},
            "files": files,
        },
    )


def describe_inputs(step: PolicyStep) -> list[dict[str, Any]]:
    """Name, shape and type of every input, in order; None is the batch."""
    inputs: list[dict[str, Any]] = []
    for entry in step.entries:
        described = {"name": entry.name, "shape": [None, *entry.shape], "dtype": entry.dtype.name, "key": entry.key}
        if entry.name == TIMESPANS:
            described["meaning"] = TIME_UNIT
        else:
            described["normalized_inside"] = entry.normalized
        if entry.sizes:
            described["choices"] = entry.sizes  # how many values each number has, from 0
        inputs.append(described)
    if step.state_size:
        inputs.append({"name": STATE_IN, "shape": [None, step.state_size], "dtype": "float32"})
        inputs.append({"name": EPISODE_START, "shape": [None], "dtype": "bool", "meaning": "true resets the state"})
    if step.action.maskable:
        meaning = "true where an action is allowed"
        inputs.append({"name": MASKS, "shape": [None, step.action.mask_width], "dtype": "bool", "meaning": meaning})
    if not step.deterministic:
        meaning = "standard normal" if step.action.continuous else "uniform, above 0 and below 1"
        inputs.append({"name": NOISE, "shape": [None, step.noise_width], "dtype": "float32", "meaning": meaning})
    return inputs


def describe_outputs(step: PolicyStep) -> list[dict[str, Any]]:
    """Name, shape and type of every output, in order."""
    kind = "float32" if step.action.continuous else "int64"
    outputs: list[dict[str, Any]] = [{"name": "action", "shape": [None, *step.action.shape], "dtype": kind}]
    if step.state_size:
        outputs.append({"name": STATE_OUT, "shape": [None, step.state_size], "dtype": "float32"})
    return outputs


def _describe_space(space: spaces.Space[Any]) -> dict[str, Any]:
    described: dict[str, Any] = {"type": type(space).__name__, "dtype": np.dtype(space.dtype).name}
    if isinstance(space, spaces.Box):
        described |= {"shape": list(space.shape), "low": _finite(space.low), "high": _finite(space.high)}
    elif isinstance(space, spaces.Discrete):
        described["n"] = int(space.n)
    elif isinstance(space, spaces.MultiDiscrete):
        described["nvec"] = space.nvec.tolist()
    elif isinstance(space, spaces.MultiBinary):
        described["n"] = space.n if isinstance(space.n, int) else list(space.n)
    return described


def _finite(bounds: np.ndarray[Any, Any]) -> Any:
    """Bounds as JSON knows them: infinity becomes None."""
    plain = bounds.astype(object)
    plain[~np.isfinite(bounds)] = None
    return plain.tolist()
