"""The moment in training at which a checkpoint is taken: what SB3 has drawn, stored and trained on by then."""

from __future__ import annotations

import sys
from typing import Literal, get_args

from sb3_contrib import ARS
from stable_baselines3.common.base_class import BaseAlgorithm

from velora_sb3._validation import check_choice

Moment = Literal["rollout start", "rollout", "outside rollouts"]
HOOKS: dict[str, Moment] = {"on_rollout_start": "rollout start", "on_step": "rollout", "on_rollout_end": "rollout"}

IN_FLIGHT = (
    "the checkpoint was saved in the middle of a rollout, before SB3 stored the last step or trained on it. Save from "
    "_on_rollout_start, or after learn() returns"
)
CANDIDATES = (
    "ARS calls no callback between two updates, so a resumed run draws other candidates. Save after learn() returns"
)


def check_moment(model: BaseAlgorithm, moment: Moment | None) -> Moment:
    """The moment that the caller names, or else the one of the callback hook that is running."""
    return _running(model) if moment is None else check_choice("moment", moment, get_args(Moment))


def _running(model: BaseAlgorithm) -> Moment:
    """Search the call stack for a hook of the model's callbacks.

    SB3 notes nowhere which hook it calls, and the start and the end of a rollout leave the model and ``locals`` alike.
    Only a caller that does not pass its moment depends on this: users who save from a callback of their own.
    """
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        name = frame.f_code.co_name
        if name in HOOKS and getattr(frame.f_locals.get("self"), "model", None) is model:
            return HOOKS[name]
    return "outside rollouts"


def unfinished_work(model: BaseAlgorithm, moment: Moment) -> str | None:
    """Why a step is not stored or not trained on yet; None if every step is."""
    if isinstance(model, ARS):
        return None if moment == "outside rollouts" else CANDIDATES
    if moment == "rollout":
        return IN_FLIGHT
    if model._total_timesteps == 0 or model.num_timesteps == model._num_timesteps_at_start:
        return None
    # SB3 updates the progress once a step (off-policy) or a rollout (on-policy) is stored, so a run that stopped before
    # that has an outdated one.
    progress = 1.0 - float(model.num_timesteps) / float(model._total_timesteps)
    return None if model._current_progress_remaining == progress else IN_FLIGHT
