"""What data collection carries from step to step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from velora_sb3.policies.recurrent_off_policy import State


@dataclass
class CollectionState:
    """Where the memories of ``N`` environments are between two steps, and what is under way within one.

    In a step SB3 calls ``_sample_action``, steps the environments, runs the callbacks and calls ``_store_transition``.

    Attributes:
        acting: What ``predict`` takes at the next observation: the acting network's memory ``(N, S)`` and the encoded
            action that was executed ``(N, A)``. None is the zero state.
        memories: Memories of all networks after the last observation ``(N, S)``; None unless they are stored.
        stored: The same before it, to be stored with its transition.
        selecting: Whether SB3 is selecting the environments' next action, for which it calls ``predict``.
        selected: The state that this call returned; None if SB3 has not called it.
        in_flight: Whether an action is selected whose transition is not stored yet.
    """

    acting: State | None = None
    memories: np.ndarray | None = None
    stored: np.ndarray | None = None
    selecting: bool = False
    selected: State | None = None
    in_flight: bool = False
