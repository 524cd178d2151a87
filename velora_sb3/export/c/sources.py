"""The files of a policy in C: header, source, example."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from velora_sb3._atomic import write_text
from velora_sb3.export.c.policy import Piece, number_type
from velora_sb3.export.c.program import Program
from velora_sb3.export.observations import TIMESPANS
from velora_sb3.export.step import PolicyStep

HEADER = """\
/* {title}

   Call policy_reset(state) at the start of every episode, and policy_step() once for every observation.

   state         POLICY_STATE_SIZE floats of yours{state_note}
   observation   POLICY_OBSERVATION_SIZE numbers as the environment gives them, not normalized:
{observation}
{timespans}{masks}   action        {action} */
#ifndef POLICY_H
#define POLICY_H

#define POLICY_STATE_SIZE {state_size}
#define POLICY_OBSERVATION_SIZE {observation_size}
#define POLICY_ACTION_SIZE {action_size}
{more_sizes}
#ifdef __cplusplus
extern "C" {{
#endif
void policy_reset(float *state);
void policy_step({parameters});
#ifdef __cplusplus
}}
#endif

#endif
"""
SOURCE = """\
/* {title} */
#include "policy.h"

#include <math.h>

{definitions}
void policy_reset(float *state)
{{
    for (int i = 0; i < POLICY_STATE_SIZE; i++) state[i] = 0.0f;
}}

void policy_step({parameters})
{{
{body}
}}
"""
EXAMPLE = """\
/* cc -std=c99 -O3 example.c policy.c -lm -o example && ./example */
#include <stdio.h>

#include "policy.h"

int main(void)
{{
    float state[POLICY_STATE_SIZE];
    {number} observation[POLICY_OBSERVATION_SIZE] = {{0}}; /* yours */
{declarations}    {kind} action[POLICY_ACTION_SIZE];

    for (int episode = 0; episode < 2; episode++) {{
        policy_reset(state); /* at the start of every episode */
        for (int step = 0; step < 3; step++) {{
            policy_step({arguments});
            printf("%d %d", episode, step);
            for (int i = 0; i < POLICY_ACTION_SIZE; i++) printf(" {format}", action[i]);
            printf("\\n");
        }}
    }}
    return 0;
}}
"""


def many_timespans(step: PolicyStep) -> bool:
    """Whether there is one timespan for each frame of a history."""
    frames = getattr(step.extractor, "frames", None)
    return step.timed and frames is not None and frames.steps is not None


def _parameters(step: PolicyStep) -> list[str]:
    parameters = ["float *state", f"const {number_type(step)} *observation"]
    if step.timed:
        parameters.append("const float *timespans" if many_timespans(step) else "float timespan")
    if step.action.maskable:
        parameters.append("const unsigned char *action_masks")
    return [*parameters, f"{_kind(step)} *action"]


def _kind(step: PolicyStep) -> str:
    return "float" if step.action.continuous else "int"


def _comment(key: str) -> str:
    """The name of an entry, whose key must neither end a comment nor begin one."""
    return (key or "observation").replace("*/", "* /").replace("/*", "/ *")


def write_sources(folder: Path, model: Any, step: PolicyStep, program: Program, pieces: list[Piece]) -> None:
    """Write ``policy.h``, ``policy.c`` and ``example.c``."""
    title = f"A policy of {type(model).__name__} after {model.num_timesteps:,} timesteps, written by velora-sb3."
    parameters = ", ".join(_parameters(step))
    rows = [
        f"                 [{piece.first}] to [{piece.first + piece.size - 1}]: {_comment(piece.entry.key)}"
        + ("; the number of the choice" if piece.entry.sizes else "")
        for piece in pieces
    ]
    sizes, declarations, arguments = [], [], ["state", "observation"]
    timespans = masks = ""
    if step.timed:
        timespans = "   timespan      time since the last observation, in the environment's time unit\n"
        arguments.append("1.0f")
    if many_timespans(step):
        timespans = "   timespans     POLICY_FRAMES floats: time since the frame before, oldest first\n"
        count = next(int(np.prod(entry.shape)) for entry in step.entries if entry.name == TIMESPANS)
        sizes.append(f"#define POLICY_FRAMES {count}\n")
        ones = ", ".join(["1.0f"] * count)
        declarations.append(f"    const float timespans[POLICY_FRAMES] = {{{ones}}};\n")
        arguments[-1] = "timespans"
    if step.action.maskable:
        masks = "   action_masks  POLICY_MASK_SIZE bytes: not 0 where an action is allowed\n"
        sizes.append(f"#define POLICY_MASK_SIZE {step.action.mask_width}\n")
        ones = ", ".join(["1"] * step.action.mask_width)
        declarations.append(f"    const unsigned char action_masks[POLICY_MASK_SIZE] = {{{ones}}};\n")
        arguments.append("action_masks")
    note = "" if step.state_size else ": this policy has no memory, and does not use it"
    action = "POLICY_ACTION_SIZE floats, in the environment's units"
    if not step.action.continuous:
        action = "POLICY_ACTION_SIZE numbers of choices, from 0"
    header = HEADER.format(
        title=title,
        state_note=note,
        observation="\n".join(rows),
        timespans=timespans,
        masks=masks,
        action=action,
        state_size=max(step.state_size, 1),  # C has no empty arrays
        observation_size=sum(piece.size for piece in pieces),
        action_size=step.action.width,
        more_sizes="".join(sizes),
        parameters=parameters,
    )
    unused = "" if step.state_size else "    (void)state;\n"
    source = SOURCE.format(
        title=title, definitions=program.definitions(), parameters=parameters, body=program.body() + "\n" + unused
    ).replace("\n\n}", "\n}")
    example = EXAMPLE.format(
        number=program.number,
        declarations="".join(declarations),
        kind=_kind(step),
        arguments=", ".join([*arguments, "action"]),
        format="%g" if step.action.continuous else "%d",
    )
    for name, text in (("policy.h", header), ("policy.c", source), ("example.c", example)):
        write_text(folder / name, text)
