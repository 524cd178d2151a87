"""Inference that keeps the state of a recurrent policy."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecNormalize

from velora_sb3._normalization import (
    ObservationStatistics,
    check_statistics,
    kept_with,
    misses_normalization,
    observation_normalizer,
)
from velora_sb3._validation import takes_masks
from velora_sb3.memory.frames import batch_size

NORMALIZED = (
    "the model's environment normalizes observations (VecNormalize), but this predict() does not: create "
    "StatefulPredictor(model, vec_normalize=model.get_vec_normalize_env()) for raw observations, or with "
    "vec_normalize=False for normalized ones"
)
MISSING = (
    "the model was trained under VecNormalize, but its zip file does not contain the statistics: create "
    "StatefulPredictor(model, vec_normalize=VecNormalize.load(path, env)) for raw observations, or with "
    "vec_normalize=False for normalized ones, or if training normalized none"
)


class StatefulPredictor:
    """A model whose ``predict`` keeps the state between calls.

    For code that calls ``model.predict(observation)`` and passes neither state nor episode starts: deployment,
    FinRL's ``DRL_prediction``, a robot's control loop. Call :meth:`reset` when an episode starts.

    Args:
        model: Any SB3 model, recurrent or not.
        vec_normalize: The ``VecNormalize`` under which the model was trained, or its ``ObservationStatistics``, to
            normalize raw observations; SB3's zip file does not contain it. False for observations that are normalized
            already, as from the model's own environment. None takes the statistics of the checkpoint, for a model
            that :func:`velora_sb3.load_checkpoint` loaded without environments; otherwise it is False, with a warning
            if the model's environment normalizes, or if an on-policy model was trained under a ``VecNormalize`` that
            is missing now.

    Raises:
        ValueError: If ``vec_normalize`` is none of these.
    """

    def __init__(
        self, model: BaseAlgorithm, vec_normalize: VecNormalize | ObservationStatistics | Literal[False] | None = None
    ) -> None:
        check_statistics(vec_normalize)
        own = observation_normalizer(getattr(model, "get_env", lambda: None)())
        self._warning: str | None = None
        if vec_normalize is None and own is not None and own.norm_obs:
            self._warning = NORMALIZED
        elif vec_normalize is None and misses_normalization(model):
            self._warning = MISSING
        if isinstance(vec_normalize, VecNormalize):
            vec_normalize = observation_normalizer(vec_normalize)
        self.model = model
        self._takes_masks = takes_masks(model)
        self.vec_normalize = (kept_with(model) if vec_normalize is None else vec_normalize) or None
        self.reset()

    def reset(self) -> None:
        """Start an episode: the next ``predict`` starts from the zero state."""
        self._state: tuple[np.ndarray, ...] | None = None
        self._batch: int | None = None  # of the kept state
        self._starting = True

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
        action_masks: np.ndarray | None = None,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Choose an action and advance the state.

        Args:
            observation: One observation or a batch, as for ``model.predict``; raw if there is a ``vec_normalize``.
            state: State to start from; None for the kept one.
            episode_start: ``(N,)``, true where an episode starts; None for the first call after :meth:`reset`.
            deterministic: Whether to act deterministically.
            action_masks: ``(N, D)``, true where an action is allowed, for a maskable model.

        Returns:
            The action and the next state, which is also kept.

        Raises:
            ValueError: If the kept state is of another batch, or the model takes no action masks.
        """
        if action_masks is not None and not self._takes_masks:
            raise ValueError(f"{type(self.model).__name__} takes no action_masks: leave them out")
        if self._warning is not None:
            warnings.warn(self._warning, stacklevel=2)
            self._warning = None
        batch = batch_size(observation, self.model.observation_space)
        if state is None and self._state is not None and batch != self._batch:
            raise ValueError(
                f"the state is for {self._batch} environment(s), got {batch} observation(s): call reset() before "
                "another batch, or pass its state"
            )
        if episode_start is None:
            episode_start = np.full(batch, self._starting and state is None)
        if self.vec_normalize is not None:
            observation = self.vec_normalize.normalize_obs(observation)
        kept = self._state if state is None else state
        masks: dict[str, Any] = {} if action_masks is None else {"action_masks": action_masks}
        action, self._state = self.model.predict(observation, kept, episode_start, deterministic, **masks)
        self._batch, self._starting = batch, False
        return action, self._state

    def __getattr__(self, name: str) -> Any:
        """Any other attribute of the model."""
        if name == "model":  # not set yet while unpickling
            raise AttributeError(name)
        return getattr(self.model, name)
