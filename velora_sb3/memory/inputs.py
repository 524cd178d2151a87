"""What a network that remembers is given: one step and a state while acting, whole windows while learning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch

from velora_sb3.memory.frames import Observation


@dataclass
class StepInput:
    """One observation of ``N`` environments, and where their memory stands.

    The extractor leaves the memory after the step in ``next_state``: SB3's actors hand on features alone.
    """

    observations: Observation  # (N, ...)
    state: torch.Tensor | None  # (N, S), None for the zero state
    previous_actions: torch.Tensor  # (N, A), zero at an episode's start
    next_state: torch.Tensor | None = None  # (N, S), written by the extractor

    def map(self, preprocess: Callable[[Observation], Observation]) -> StepInput:
        """Preprocess the observations in place: ``next_state`` must be found where the caller looks for it."""
        self.observations = preprocess(self.observations)
        return self


@dataclass(frozen=True)
class SequenceBatch:
    """``B`` windows of ``T`` steps, of which the first ``burn_in`` only warm up the memory and ``L`` are learned from.

    Stands for the observations of those ``L`` steps, or with ``ahead`` for the observations that follow each of them,
    or each of their n-step returns.
    Observations are flattened, time before batch, as SB3's preprocessing wants one leading dimension.
    """

    observations: Observation  # (T * B, ...)
    previous_actions: torch.Tensor  # (T, B, A), zero at an episode's start
    episode_starts: torch.Tensor  # (T, B)
    next_observations: Observation  # (L * B, ...)
    actions: torch.Tensor  # (L * B, A), what preceded the next observations
    burn_in: int
    ahead: bool = False
    following: torch.Tensor | None = None  # (L * B,) rows of what follows each step's return, None for its own row
    stored_state: torch.Tensor | None = None  # (B, S) of all networks before the first step, None for the zero state
    # Unrolled states of networks, by the network; shared by both views of one batch.
    unrolled: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)

    def looking_ahead(self) -> SequenceBatch:
        """The view that stands for the next observations."""
        return replace(self, ahead=True)

    def map(self, preprocess: Callable[[Observation], Observation]) -> SequenceBatch:
        """The same windows with preprocessed observations."""
        ahead = preprocess(self.next_observations) if self.ahead else self.next_observations
        return replace(self, observations=preprocess(self.observations), next_observations=ahead)
