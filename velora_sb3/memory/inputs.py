"""What a recurrent network is given: an observation and a state while acting, windows of steps while learning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import nn

from velora_sb3.memory.frames import Observation


@dataclass
class StepInput:
    """One observation of ``N`` environments, and the state of the network before it.

    The extractor writes the state after the step to ``next_state``, because SB3's actors return features alone.
    """

    observations: Observation  # (N, ...)
    state: torch.Tensor | None  # (N, S), None for the zero state
    previous_actions: torch.Tensor  # (N, A), zero at the start of an episode
    next_state: torch.Tensor | None = None  # (N, S), written by the extractor

    def map(self, preprocess: Callable[[Observation], Observation]) -> StepInput:
        """Preprocess the observations in place: the caller reads ``next_state`` from this very object."""
        self.observations = preprocess(self.observations)
        return self


class Unrolled(NamedTuple):
    """A cell's inputs, outputs and states at the training steps."""

    inputs: torch.Tensor  # (L, B, F)
    outputs: torch.Tensor  # (L, B, O)
    states: torch.Tensor  # (L, B, S), after each step


class UnrollCache:
    """What networks computed on a batch of windows, so that its two views share one unroll.

    A batch creates it and shares it with its next-observation view; SB3 drops both after the gradient step. An entry
    is valid only while the network's parameters are those that it was computed with.
    """

    def __init__(self) -> None:
        self._entries: dict[nn.Module, tuple[torch.Tensor, Unrolled]] = {}

    @torch.no_grad()
    def store(self, network: nn.Module, unrolled: Unrolled) -> None:
        """Keep what a network computed, without its graph."""
        self._entries[network] = _parameters(network), Unrolled(*(tensor.detach() for tensor in unrolled))

    @torch.no_grad()
    def load(self, network: nn.Module) -> Unrolled | None:
        """What a network computed; None if it did not, or if it has changed since."""
        parameters, unrolled = self._entries.get(network, (None, None))
        # Compared by value: SB3's polyak_update() writes to .data, which no version counter sees.
        if parameters is None or not parameters.equal(_parameters(network)):
            return None
        return unrolled


def _parameters(network: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.flatten() for parameter in network.parameters()])


@dataclass(frozen=True)
class SequenceBatch:
    """``B`` windows of ``T`` steps: ``burn_in`` steps that only warm up the state, then ``L`` steps to learn from.

    One batch has two views. The first represents the observations of the ``L`` steps; the other one, ``is_next``, for
    the observations after them (after their n-step returns, if there is a ``bootstrap_index``).
    Observations are flattened, time before batch, as SB3's preprocessing expects one leading dimension.
    """

    observations: Observation  # (T * B, ...)
    previous_actions: torch.Tensor  # (T, B, A), zero at the start of an episode
    episode_starts: torch.Tensor  # (T, B)
    next_observations: Observation  # (K, ...), those that the next step of the window does not show
    actions: torch.Tensor  # (L * B, A), the actions before the next observations
    burn_in: int
    is_next: bool = False
    bootstrap_index: torch.Tensor | None = None  # (L * B,), where n-step returns end; None for one step
    stored_state: torch.Tensor | None = None  # (B, S) of all networks before the first step, None for the zero state
    apart: torch.Tensor | None = None  # (K,), the rows that these follow; None for all of them
    cache: UnrollCache = field(default_factory=UnrollCache)

    def every_next_observation(self) -> Observation:
        """The observations after all steps ``(L * B, ...)``."""
        apart, windows = self.apart, self.episode_starts.shape[1]
        if apart is None:
            return self.next_observations

        def complete(rows: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
            return rows[self.burn_in * windows :].roll(-windows, 0).index_copy(0, apart, following)

        following: Any = self.next_observations  # a dict where the observations are one
        if isinstance(self.observations, dict):
            return {key: complete(rows, following[key]) for key, rows in self.observations.items()}
        return complete(self.observations, following)

    def next_view(self) -> SequenceBatch:
        """The view that represents the next observations."""
        return replace(self, is_next=True)

    def map(self, preprocess: Callable[[Observation], Observation]) -> SequenceBatch:
        """The same windows with preprocessed observations."""
        following = preprocess(self.next_observations) if self.is_next else self.next_observations
        return replace(self, observations=preprocess(self.observations), next_observations=following)
