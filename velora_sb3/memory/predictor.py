"""Inference that cannot lose its state."""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm


class StatefulPredictor:
    """A model whose ``predict`` remembers by itself.

    For code that calls ``model.predict(observation)`` and passes on neither state nor episode starts: deployment,
    FinRL's ``DRL_prediction``, a robot's loop. Call :meth:`reset` when an episode starts.

    Args:
        model: Any SB3 model; one that does not remember works too.
    """

    def __init__(self, model: BaseAlgorithm) -> None:
        self.model = model
        self.reset()

    def reset(self) -> None:
        """Start an episode: the next ``predict`` begins from the zero state."""
        self._state: tuple[np.ndarray, ...] | None = None
        self._starting = True

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
        action_masks: np.ndarray | None = None,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Act, and remember.

        Args:
            observation: One observation or a batch, as the model takes it.
            state: A state to go on from instead of the kept one.
            episode_start: ``(N,)``, true where an episode starts; None if :meth:`reset` says so.
            deterministic: Whether to act deterministically.
            action_masks: ``(N, D)``, true where an action is allowed, for a model that takes masks.

        Returns:
            The action and the state, which is also kept.
        """
        if episode_start is None:
            episode_start = np.full(self._batch_size(observation), self._starting and state is None)
        kept = self._state if state is None else state
        masks: dict[str, Any] = {} if action_masks is None else {"action_masks": action_masks}
        action, self._state = self.model.predict(observation, kept, episode_start, deterministic, **masks)
        self._starting = False
        return action, self._state

    def _batch_size(self, observation: Any) -> int:
        if not self.model.policy.is_vectorized_observation(observation):
            return 1
        first = next(iter(observation.values())) if isinstance(observation, dict) else observation
        return len(first)

    def __getattr__(self, name: str) -> Any:
        """Everything else is the model's."""
        if name == "model":  # not there yet, while unpickling
            raise AttributeError(name)
        return getattr(self.model, name)
