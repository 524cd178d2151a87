"""A policy's step in C: from the observation to the action."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor
from torch import nn

from velora_sb3.export.c.cells import emit_cell
from velora_sb3.export.c.layers import emit_layers, emit_linear, unknown
from velora_sb3.export.c.program import Program, literal
from velora_sb3.export.observations import TIMESPANS, ObservationEntry
from velora_sb3.export.step import CellStep, PolicyStep
from velora_sb3.memory import LiquidExtractor
from velora_sb3.memory.encoder import TimedEncoder


@dataclass
class Piece:
    """An entry of an observation: where it stands in the array that C is given, and in the one that it makes."""

    entry: ObservationEntry
    first: int
    size: int
    seen_first: int
    seen_size: int


def pieces_of(step: PolicyStep) -> list[Piece]:
    """The entries of an observation but the timespans, side by side.

    Raises:
        ValueError: For images.
    """
    pieces: list[Piece] = []
    first = seen_first = 0
    for entry in step.entries:
        if entry.name == TIMESPANS:
            continue
        if entry.transposed or entry.scaled:
            raise ValueError(f"{entry.name} is an image, which exports to C do not support: export to ONNX")
        size = int(np.prod(entry.shape))
        seen = sum(entry.sizes) or size
        pieces.append(Piece(entry, first, size, seen_first, seen))
        first, seen_first = first + size, seen_first + seen
    return pieces


def number_type(step: PolicyStep) -> str:
    """The C type of an observation's numbers: float, unless that would lose digits."""
    wide = {"float64", "int32", "int64", "uint32", "uint64"}
    boxes = [entry for entry in step.entries if isinstance(entry.raw, spaces.Box) and entry.name != TIMESPANS]
    return "double" if any(entry.dtype.name in wide for entry in boxes) else "float"


def emit_policy(step: PolicyStep) -> Program:
    """Emit a whole step.

    Args:
        step: The step.

    Returns:
        The program: ``state``, ``observation``, ``timespan`` or ``timespans``, ``action_masks`` and ``action`` are its
        variables.

    Raises:
        ValueError: If C does not know one of its parts.
    """
    program, pieces = Program(number_type(step)), pieces_of(step)
    seen = program.buffer("seen", sum(piece.seen_size for piece in pieces))
    for piece in pieces:
        _emit_entry(program, piece, seen)
    extractor = step.extractor
    if isinstance(extractor, LiquidExtractor):
        features, width = _emit_liquid(program, step, pieces, seen)
    else:
        encoder = extractor.encoder if isinstance(extractor, TimedEncoder) else extractor
        features, width = _emit_frame(program, encoder, pieces, seen, 1, None)
    if step.core is not None:
        core: Any = step.core.cell if isinstance(step.core, CellStep) else step.core
        outputs = emit_cell(program, core, features, "state", timespan="timespan" if step.timed else None)
        width = core.hidden if not isinstance(step.core, CellStep) else core.output_size
        if isinstance(step.core, CellStep) and step.core.skip:
            joined = program.buffer("joined", core.input_size + width)
            program.call("copy", core.input_size, features, joined)
            program.call("copy", width, outputs, f"{joined} + {core.input_size}")
            outputs, width = joined, core.input_size + width
        features = outputs
        if any(not isinstance(layer, nn.Linear) for layer in step.head[:1]):  # activations write to their inputs
            features = _copied(program, features, width)
    outputs, width = emit_layers(program, step.head, features, width)
    _emit_action(program, step, outputs)
    return program


def _copied(program: Program, source: str, size: int) -> str:
    target = program.buffer("features", size)
    program.call("copy", size, source, target)
    return target


def _emit_entry(program: Program, piece: Piece, seen: str) -> None:
    entry, target = piece.entry, f"{seen} + {piece.seen_first}"
    if entry.sizes:
        for i, size in enumerate(entry.sizes):
            first = piece.seen_first + sum(entry.sizes[:i])
            program.call("one_hot", size, f"(int)observation[{piece.first + i}]", f"{seen} + {first}")
    elif entry.normalized:
        mean = entry.mean.flatten()
        rounded = mean.float()
        constants = [
            program.floats("mean", rounded),
            program.floats("mean_rest", mean - rounded.double()),
            program.floats("deviation", entry.deviation),
        ]
        clip = literal(entry.clip) if np.isfinite(entry.clip) else "INFINITY"
        program.call("normalize", piece.size, f"observation + {piece.first}", *constants, clip, target)
    else:
        program.call("read_numbers", piece.size, f"observation + {piece.first}", target)


def _emit_frame(
    program: Program, encoder: Any, pieces: list[Piece], seen: str, steps: int, target: str | None
) -> tuple[str, int]:
    """Features of frame ``t`` of a history of ``steps``, or of the single observation; name and size."""
    keys = [piece.entry.key for piece in pieces]
    if type(encoder) is CombinedExtractor and all(type(one) is nn.Flatten for one in encoder.extractors.values()):
        keys = list(encoder.extractors)
    elif type(encoder) is not FlattenExtractor:
        raise unknown(encoder)
    by_key = {piece.entry.key: piece for piece in pieces}
    width = sum(by_key[key].seen_size // steps for key in keys)
    if target is None:
        if steps == 1 and keys == [piece.entry.key for piece in pieces]:
            return seen, width
        target = program.buffer("frame", width)
    first = 0
    for key in keys:
        piece = by_key[key]
        size = piece.seen_size // steps
        moment = f" + t * {size}" if steps > 1 else ""
        program.call("copy", size, f"{seen} + {piece.seen_first}{moment}", f"{target} + {first}")
        first += size
    return target, width


def _emit_liquid(program: Program, step: PolicyStep, pieces: list[Piece], seen: str) -> tuple[str, int]:
    extractor: LiquidExtractor = step.extractor
    cell: Any = extractor.cell
    steps, previous = extractor.frames.steps or 1, extractor.previous_action_size
    joined = program.buffer("inputs", cell.input_size + cell.output_size)  # the cell's inputs, then its outputs
    remembers = step.sees_previous
    state = "state" if remembers else program.buffer("memory", cell.state_size)
    if not remembers:
        program.call("fill_zero", cell.state_size, state)
    timespan = None
    if step.timed:
        timespan = "timespans[t]" if extractor.frames.steps is not None else "timespan"
    if steps > 1:
        program.line(f"for (int t = 0; t < {steps}; t++) {{")
    elif timespan == "timespans[t]":
        timespan = "timespans[0]"
    if extractor.dense is None:
        _emit_frame(program, extractor.encoder, pieces, seen, steps, joined)
    else:
        frame, _ = _emit_frame(program, extractor.encoder, pieces, seen, steps, None)
        emit_linear(program, extractor.dense.weight, extractor.dense.bias, frame, joined)
        program.call("apply_relu", extractor.dense.out_features, joined)
    if previous:
        program.call("copy", previous, f"state + {step.memory_size}", f"{joined} + {cell.input_size - previous}")
    outputs = emit_cell(program, cell, joined, state, not remembers and steps == 1, timespan)
    program.call("copy", cell.output_size, outputs, f"{joined} + {cell.input_size}")
    if steps > 1:
        program.line("}")
    if extractor.readout is None:
        return f"{joined} + {cell.input_size}", cell.output_size
    features = emit_linear(program, extractor.readout.weight, extractor.readout.bias, joined)
    program.call("apply_relu", extractor.readout.out_features, features)
    return features, extractor.readout.out_features


def _emit_action(program: Program, step: PolicyStep, outputs: str) -> None:
    rule, remembered = step.action, f"state + {step.memory_size}"
    if rule.continuous:
        if rule.tanh:
            program.call("apply_tanh", rule.width, outputs)
        bounds = program.floats("low", rule.low), program.floats("high", rule.high)
        program.call("rescale" if rule.squashed else "clip_action", rule.width, *bounds, outputs, "action")
        if step.previous_size:
            program.call("copy", rule.width, outputs, remembered)
        return
    if rule.quantiles:
        values = program.buffer("values", rule.sizes[0])
        program.call("average", rule.quantiles, rule.sizes[0], outputs, values)
        outputs = values
    if rule.maskable:
        program.call("mask", rule.mask_width, "action_masks", outputs)
    if rule.thresholds:
        program.use("sigmoid")
        program.line(f"for (int i = 0; i < {rule.width}; i++) action[i] = sigmoid({outputs}[i]) > 0.5f;")
        return
    first = 0
    for i, size in enumerate(rule.sizes):
        program.line(f"action[{i}] = {program.use('argmax')}({size}, {outputs} + {first});")
        first += size
    if step.previous_size:
        program.call("one_hot", rule.sizes[0], "action[0]", remembered)
