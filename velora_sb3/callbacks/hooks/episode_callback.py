"""A callback with hooks for episodes, iterations and evaluations, as RLlib's callbacks have them."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from velora_sb3.callbacks.base.callback import VeloraCallback
from velora_sb3.callbacks.base.episodes import Episode
from velora_sb3.callbacks.hooks.dispatcher import HookRounds
from velora_sb3.callbacks.hooks.signatures import HOOKS, Hook, fit


class EpisodeCallback(VeloraCallback):
    """Override the hooks that you want; each gets its arguments by keyword, and only those that it names.

    All ``EpisodeCallback`` in the list for ``learn()`` share episodes, with their ``custom_data``, and the logger of
    metrics. For each event those of subclasses are called first, then those of ``LambdaCallback``, in the order of the
    list. What a hook returns does not matter. Hooks that nobody overrides cost nothing.

    Args:
        history: How many of its latest steps each running episode keeps.
        timesteps_per_iteration: ``on_train_result`` comes after the rollout, trained on, that completes so many
            timesteps since the last; 1 for every rollout. Algorithms with a replay buffer collect a few steps at a
            time.
        verbose: 0 for silence, 1 to print what is overridden when training starts.

    Raises:
        ValueError: If history or timesteps_per_iteration is below 1; when training starts, if it is the child of an
            event such as ``EvalCallback``, and not in the list for ``learn()``.
        TypeError: If a hook asks for an argument that it does not get.
    """

    def __init__(self, *, history: int = 1, timesteps_per_iteration: int = 1, verbose: int = 0) -> None:
        super().__init__(verbose)
        for name, value in (("history", history), ("timesteps_per_iteration", timesteps_per_iteration)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
        self.history, self.timesteps_per_iteration = history, timesteps_per_iteration
        self.iteration, self.iteration_began = 0, 0
        self.was_loaded = False
        self._algorithm: weakref.ref[BaseAlgorithm] | None = None
        self._environments: weakref.WeakSet[VecEnv] = weakref.WeakSet()
        self._rounds: HookRounds | None = None  # of the first one in the list
        self._saved: dict[str, Any] | None = None
        for name in HOOKS:
            self.functions(name)  # a wrong one is told of at once

    comes_last = False  # whether its hooks are called after those of the others

    # The hooks.

    def on_algorithm_init(self, *, algorithm: BaseAlgorithm, metrics_logger: Any, **kwargs: Any) -> None:
        """Training starts, for the first time with this algorithm."""

    def on_environment_created(
        self, *, env_runner: Any, metrics_logger: Any, env: VecEnv, env_context: Any, **kwargs: Any
    ) -> None:
        """Vectorized environments are used for the first time, for training or for evaluation."""

    def on_checkpoint_loaded(self, *, algorithm: BaseAlgorithm, **kwargs: Any) -> None:
        """Training goes on from a checkpoint, whose state has been loaded."""

    def on_episode_created(
        self, *, episode: Any, env_runner: Any, metrics_logger: Any, env: VecEnv, env_index: int, **kwargs: Any
    ) -> None:
        """There is a new episode, which has no observation yet."""

    def on_episode_start(
        self, *, episode: Any, env_runner: Any, metrics_logger: Any, env: VecEnv, env_index: int, **kwargs: Any
    ) -> None:
        """An episode has its first observation."""

    def on_episode_step(
        self, *, episode: Any, env_runner: Any, metrics_logger: Any, env: VecEnv, env_index: int, **kwargs: Any
    ) -> None:
        """An episode has taken a step; the last one too."""

    def on_episode_end(
        self, *, episode: Any, env_runner: Any, metrics_logger: Any, env: VecEnv, env_index: int, **kwargs: Any
    ) -> None:
        """An episode has ended, after its last ``on_episode_step``."""

    def on_sample_end(self, *, env_runner: Any, metrics_logger: Any, samples: list[Any], **kwargs: Any) -> None:
        """A rollout, or an evaluation, is over; ``samples`` are its episodes, those under way too."""

    def on_train_result(
        self, *, algorithm: BaseAlgorithm, metrics_logger: Any, result: dict[str, Any], **kwargs: Any
    ) -> None:
        """An iteration is over: a rollout and the training on it. Numbers added to ``result`` are logged."""

    def on_evaluate_start(self, *, algorithm: BaseAlgorithm, metrics_logger: Any, **kwargs: Any) -> None:
        """An ``EvalCallback`` is about to evaluate."""

    def on_evaluate_end(
        self, *, algorithm: BaseAlgorithm, metrics_logger: Any, evaluation_metrics: dict[str, Any], **kwargs: Any
    ) -> None:
        """An ``EvalCallback`` has evaluated."""

    # The base's hooks.

    def config(self) -> tuple[str, dict[str, Any]]:
        """Name, settings and the hooks that are overridden."""
        used = [name for name in HOOKS if self.functions(name)]
        settings = {"history": self.history, "timesteps_per_iteration": self.timesteps_per_iteration}
        return type(self).__name__, {**settings, "hooks": used}

    def state_dict(self) -> dict[str, Any]:
        """Adds iterations; the first in the list has the metrics and the episodes under way, with their data too."""
        own: dict[str, Any] = {"iteration": self.iteration, "iteration_began": self.iteration_began}
        if self._rounds is not None:
            own["shared"] = self._rounds.state_dict()
        return {**super().state_dict(), **own}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        super().load_state_dict(state)
        self.iteration, self.iteration_began = int(state["iteration"]), int(state["iteration_began"])
        self._saved, self.was_loaded = state.get("shared"), True

    def functions(self, hook: str) -> list[Hook]:
        """What is to be called for a hook.

        Args:
            hook: Its name.

        Returns:
            The functions, in order.
        """
        overridden = getattr(type(self), hook) is not getattr(EpisodeCallback, hook) or hook in vars(self)
        return [fit(hook, getattr(self, hook))] if overridden else []

    def _on_start(self) -> None:
        if self.parent is not None:
            raise ValueError(
                f"{type(self).__name__} has to see every step of training: put it in the list of callbacks for "
                f"learn(), not in {type(self.parent).__name__}; episodes of evaluations reach it there"
            )
        if self.is_new_run:
            self.iteration = self.iteration_began = 0
        if self._lead() is not self:  # what the first one does is done for all
            self._heard, self._rounds = None, None
            return
        before = None if self.is_new_run else self._rounds
        self._rounds = HookRounds(self, list(self._everyone()))
        self._rounds.take_over(before, self._saved)
        self._saved = None
        if not self._rounds.counts_episodes:
            self._heard = None

    def _on_rollout_start(self) -> None:
        if self._rounds is not None:
            self._rounds.rollout_start()

    def _on_every_step(self) -> bool:
        if self._rounds is not None and self._rounds.episodes is not None:
            self._rounds.step(self.locals)
        return True

    def _on_episode(self, episode: Episode) -> bool:
        if self._rounds is not None:
            self._rounds.finished(episode, shown="rewards" in self.locals)
        return True

    def _on_rollout_end(self) -> None:
        if self._rounds is not None:
            self._rounds.rollout_end()

    def _on_end(self) -> None:
        if self._rounds is not None:
            self._rounds.end(self.interrupted)

    # Among each other.

    def meets(self, algorithm: BaseAlgorithm) -> bool:
        """Whether it sees an algorithm for the first time.

        Args:
            algorithm: The algorithm.

        Returns:
            Whether it is another than the last time.
        """
        new = self._algorithm is None or self._algorithm() is not algorithm
        self._algorithm = weakref.ref(algorithm)
        return new

    def meets_environments(self, env: VecEnv) -> bool:
        """Whether it sees environments for the first time.

        Args:
            env: The environments.

        Returns:
            Whether it has not seen them before.
        """
        new = env not in self._environments
        self._environments.add(env)
        return new

    def _everyone(self) -> Iterator[EpisodeCallback]:
        """All of a kind in the list, this one too, once each."""
        seen: set[int] = set()
        for callback in self.siblings():
            if isinstance(callback, EpisodeCallback) and id(callback) not in seen:
                seen.add(id(callback))
                yield callback

    def _lead(self) -> EpisodeCallback:
        return next(self._everyone())
