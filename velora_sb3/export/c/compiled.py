"""A policy in C, compiled for this machine, to compare it with the model."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from velora_sb3.export.c.policy import Piece, number_type
from velora_sb3.export.c.sources import many_timespans
from velora_sb3.export.observations import TIMESPANS
from velora_sb3.export.parity import Act
from velora_sb3.export.step import PolicyStep


def compiled(folder: Path, build: Path, compiler: list[str], step: PolicyStep, pieces: list[Piece]) -> Act:
    """The policy as a function of batches, compiled for this machine."""
    library = build / "policy.so"
    command = [*compiler, "-std=c99", "-O2", "-shared", "-fPIC", str(folder / "policy.c"), "-lm", "-o", str(library)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"{compiler[0]} cannot compile the policy: {done.stderr.strip().splitlines()[0]}")
    loaded = ctypes.CDLL(str(library))
    number: Any = np.float64 if number_type(step) == "double" else np.float32
    states: dict[int, np.ndarray[Any, Any]] = {}

    def act(observation: Any, starts: np.ndarray[Any, Any], masks: np.ndarray[Any, Any] | None) -> Any:
        actions = []
        for index, start in enumerate(starts):
            state = states.setdefault(index, np.full(max(step.state_size, 1), np.nan, np.float32))
            if start:
                loaded.policy_reset(_pointer(state))
            keys = [piece.entry.key for piece in pieces]
            entries = [observation[key] if key else observation for key in keys]
            flat = np.concatenate([np.ravel(values[index]) for values in entries]).astype(number)
            arguments: list[Any] = [_pointer(state), _pointer(flat)]
            if step.timed:
                key = next(entry.key for entry in step.entries if entry.name == TIMESPANS)
                times = np.ascontiguousarray(observation[key][index], np.float32).ravel()
                arguments.append(_pointer(times) if many_timespans(step) else ctypes.c_float(float(times[0])))
            if masks is not None:
                allowed = np.ascontiguousarray(masks[index], np.uint8)
                arguments.append(_pointer(allowed))
            action = np.zeros(step.action.width, np.float32 if step.action.continuous else np.int32)
            loaded.policy_step(*arguments, _pointer(action))
            actions.append(action.reshape(step.action.shape))
        return np.stack(actions)

    return act


def _pointer(array: np.ndarray[Any, Any]) -> Any:
    return array.ctypes.data_as(ctypes.c_void_p)
