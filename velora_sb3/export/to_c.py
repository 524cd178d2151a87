"""A policy as C99 source."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecNormalize

from velora_sb3._atomic import write_json
from velora_sb3._compiler import find_compiler
from velora_sb3._normalization import ObservationStatistics, resolve_statistics
from velora_sb3._validation import check_bool
from velora_sb3.export.c.compiled import compiled
from velora_sb3.export.c.policy import emit_policy, pieces_of
from velora_sb3.export.c.sources import write_sources
from velora_sb3.export.contract import PARITY, export_directory, write_contract
from velora_sb3.export.parity import check_parity
from velora_sb3.export.step import make_step


def export_c(
    model: BaseAlgorithm,
    directory: str | Path,
    *,
    vec_normalize: VecNormalize | ObservationStatistics | bool | None = None,
    deterministic: bool = True,
    observation_space: spaces.Space[Any] | None = None,
) -> Path:
    """Write a policy as C99: no allocation, no dependency but ``math.h``, weights as ``static const float``.

    =================== ======================================================================================
    file                contents
    =================== ======================================================================================
    ``policy.h``        ``policy_reset(state)``, ``policy_step(state, observation, timespan, action_masks, action)``:
                        of the last ones those that the policy uses
    ``policy.c``        the step and its weights; of a wired cell the synapses that exist
    ``policy.json``     sizes, order of the observation, action space, normalization, versions, SHA-256
    ``example.c``       runs it
    ``parity.json``     the comparison with ``model.predict`` over 1,000 steps, bytes of weights, state and stack
    =================== ======================================================================================

    Dense layers with their activations, batch and layer normalization, every cell of this package and LSTMs can be
    written in C; images and your own modules cannot. The comparison needs a C compiler, ``$CC`` or ``cc``; without one
    the export warns.

    Args:
        model: A model of SB3, sb3-contrib or this package.
        directory: A new folder, or an earlier export, which is replaced.
        vec_normalize: The ``VecNormalize`` that the model was trained under, or its ``ObservationStatistics``; None
            for that of the model's environment, if any. False for observations that are normalized already.
        deterministic: Only True: a policy in C takes the most likely action.
        observation_space: The environment's, for a model without an environment.

    Returns:
        The folder.

    Raises:
        ValueError: If a part of the policy cannot be written in C, the folder holds something else, or the program
            does not act as the model does.
        TypeError: If the policy's family is unknown.
    """
    if not check_bool("deterministic", deterministic):
        raise ValueError("C has no random numbers to sample with: leave deterministic out, or export to ONNX")
    statistics = resolve_statistics(model, vec_normalize)
    step = make_step(model, statistics, observation_space)
    program, pieces = emit_policy(step), pieces_of(step)
    with export_directory(directory) as folder:
        write_sources(folder, model, step, program, pieces)
        sizes = {
            "weight_bytes": program.weight_bytes,
            "state_bytes": 4 * step.state_size,
            "stack_bytes": program.stack_bytes,
        }
        report: dict[str, Any] = {"reference": None, "reason": "no C compiler: set CC, or install one, to compare"}
        if (compiler := find_compiler()) is None:
            warnings.warn(f"the exported policy was not compared with the model: {report['reason']}", stacklevel=2)
        else:
            with tempfile.TemporaryDirectory() as build:
                report = check_parity(model, step, statistics, compiled(folder, Path(build), compiler, step, pieces))
        write_json(folder / PARITY, {**report, **sizes})
        order = {
            "observation": [{"key": piece.entry.key, "first": piece.first, "size": piece.size} for piece in pieces],
            "observation_type": program.number,
        }
        write_contract(folder, "c", model, step, statistics, {"c": {**order, **sizes}})
    return Path(directory)
