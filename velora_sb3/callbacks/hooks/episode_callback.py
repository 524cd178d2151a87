"""A callback with hooks for episodes, iterations and evaluations, as RLlib's callbacks have them."""

from __future__ import annotations

import weakref
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from velora_sb3._validation import check_integer, check_timesteps
from velora_sb3.callbacks.base.callback import VeloraCallback
from velora_sb3.callbacks.base.episodes import Episode
from velora_sb3.callbacks.hooks.dispatcher import HookDispatcher
from velora_sb3.callbacks.hooks.signatures import HOOKS, Hook, fit


class EpisodeCallback(VeloraCallback):
    """Hooks for episodes, iterations and evaluations: override those that you want.

    A hook receives its arguments by keyword, and only those that it names. All ``EpisodeCallback`` in the list for
    ``learn()`` share the episodes, with their ``custom_data``, and the metrics logger. For each event the hooks of
    subclasses are called first, then those of ``LambdaCallback``, in the order of the list. Return values are ignored.
    Hooks that nobody overrides cost nothing.

    Args:
        history: Number of latest steps that each running episode keeps.
        timesteps_per_iteration: ``on_train_result`` is called after the rollout, and the training on it, that completes
            this many timesteps since the last call; 1 for every rollout. Off-policy algorithms collect only a few steps
            per rollout.
        verbose: 0 for no output, 1 to print the overridden hooks when training starts.

    Raises:
        ValueError: If history or timesteps_per_iteration is not an integer of at least 1; when training starts, if it
            is the child of an event such as ``EvalCallback`` instead of an entry of the list for ``learn()``.
        TypeError: If a hook requires an argument that it does not receive.
    """

    def __init__(self, *, history: int = 1, timesteps_per_iteration: int = 1, verbose: int = 0) -> None:
        super().__init__(verbose)
        self.history = check_integer("history", history)
        self.timesteps_per_iteration = check_timesteps("timesteps_per_iteration", timesteps_per_iteration)
        self.iteration, self.iteration_began = 0, 0
        self.was_loaded = False
        self._algorithm: weakref.ref[BaseAlgorithm] | None = None
        self._environments: weakref.WeakSet[VecEnv] = weakref.WeakSet()
        self._dispatcher: HookDispatcher | None = None  # only that of the first in the list
        self._saved: dict[str, Any] | None = None
        for name in HOOKS:
            self.functions(name)  # raises at once for a wrong signature

    _needs_every_step = True
    comes_last: bool = False  # whether its hooks are called after those of the others

    # The hooks.

    def on_algorithm_init(self, *, algorithm: BaseAlgorithm, metrics_logger: Any, **kwargs: Any) -> None:
        """Training starts, for the first time with this algorithm."""

    def on_environment_created(
        self, *, env_runner: Any, metrics_logger: Any, env: VecEnv, env_context: Any, **kwargs: Any
    ) -> None:
        """Vectorized environments are used for the first time, for training or for evaluation."""

    def on_checkpoint_loaded(self, *, algorithm: BaseAlgorithm, **kwargs: Any) -> None:
        """Training resumes from a checkpoint, whose state has been loaded."""

    def on_episode_created(
        self, *, episode: Any, env_runner: Any, metrics_logger: Any, env: VecEnv, env_index: int, **kwargs: Any
    ) -> None:
        """A new episode was created; it has no observation yet."""

    def on_episode_start(
        self, *, episode: Any, env_runner: Any, metrics_logger: Any, env: VecEnv, env_index: int, **kwargs: Any
    ) -> None:
        """An episode has its first observation."""

    def on_episode_step(
        self, *, episode: Any, env_runner: Any, metrics_logger: Any, env: VecEnv, env_index: int, **kwargs: Any
    ) -> None:
        """An episode has taken a step; called for its last step too."""

    def on_episode_end(
        self, *, episode: Any, env_runner: Any, metrics_logger: Any, env: VecEnv, env_index: int, **kwargs: Any
    ) -> None:
        """An episode has ended, after its last ``on_episode_step``."""

    def on_sample_end(self, *, env_runner: Any, metrics_logger: Any, samples: list[Any], **kwargs: Any) -> None:
        """A rollout or an evaluation has ended; ``samples`` are its episodes, running ones included."""

    def on_train_result(
        self, *, algorithm: BaseAlgorithm, metrics_logger: Any, result: dict[str, Any], **kwargs: Any
    ) -> None:
        """A rollout was collected and trained on. Numbers added to ``result`` are logged."""

    def on_evaluate_start(self, *, algorithm: BaseAlgorithm, metrics_logger: Any, **kwargs: Any) -> None:
        """An ``EvalCallback`` of ``velora_sb3.callbacks`` is about to evaluate."""

    def on_evaluate_end(
        self, *, algorithm: BaseAlgorithm, metrics_logger: Any, evaluation_metrics: dict[str, Any], **kwargs: Any
    ) -> None:
        """An ``EvalCallback``, SB3's own too, has evaluated."""

    # The base's hooks.

    def config(self) -> tuple[str, dict[str, Any]]:
        """Name, settings and the overridden hooks."""
        used = [name for name in HOOKS if self.functions(name)]
        settings = {"history": self.history, "timesteps_per_iteration": self.timesteps_per_iteration}
        return type(self).__name__, {**settings, "hooks": used}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to a run in this process."""
        state = super().__getstate__()
        del state["_environments"]
        return {**state, "_algorithm": None, "_saved": self._shared(), "_dispatcher": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copy, which has seen neither an algorithm nor environments."""
        vars(self).update(state, _environments=weakref.WeakSet())

    def state_dict(self) -> dict[str, Any]:
        """Adds iterations; the first in the list also holds the metrics and the running episodes with their data."""
        own: dict[str, Any] = {"iteration": self.iteration, "iteration_began": self.iteration_began}
        if (shared := self._shared()) is not None:
            own["shared"] = shared
        return {**super().state_dict(), **own}

    def _shared(self) -> dict[str, Any] | None:
        return self._saved if self._dispatcher is None else self._dispatcher.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state."""
        super().load_state_dict(state)
        self.iteration, self.iteration_began = int(state["iteration"]), int(state["iteration_began"])
        self._saved, self.was_loaded = state.get("shared"), True

    def functions(self, hook: str) -> list[Hook]:
        """The functions to call for a hook, in order.

        Args:
            hook: The hook's name.

        Returns:
            The functions; none if the hook is not overridden.
        """
        overridden = getattr(type(self), hook) is not getattr(EpisodeCallback, hook) or hook in vars(self)
        return [fit(hook, getattr(self, hook))] if overridden else []

    def _on_start(self) -> None:
        if self.is_new_run:
            self.iteration = self.iteration_began = 0
        callbacks = self._hook_callbacks()
        if callbacks[0] is not self:  # the first in the list dispatches for all
            self._last_counted, self._dispatcher = None, None
            return
        before = None if self.is_new_run else self._dispatcher
        self._dispatcher = HookDispatcher(self.model, self.episodes, callbacks, self.siblings())
        self._dispatcher.resume(before, None if self.is_new_run else self._saved)
        self._saved = None
        if not self._dispatcher.counts_episodes:
            self._last_counted = None

    def _on_rollout_start(self) -> None:
        if self._dispatcher is not None:
            self._dispatcher.rollout_start()

    def _on_every_step(self) -> bool:
        if self._dispatcher is not None and self._dispatcher.watches_steps:
            self._dispatcher.step(self.locals)
        return True

    def _on_episode(self, episode: Episode) -> bool:
        if self._dispatcher is not None:
            self._dispatcher.finished(episode, shown="rewards" in self.locals)
        return True

    def _on_rollout_end(self) -> None:
        if self._dispatcher is not None:
            self._dispatcher.rollout_end()

    def _on_end(self) -> None:
        if self._dispatcher is not None:
            self._dispatcher.end(self.interrupted)

    # What the dispatcher asks.

    def is_new_algorithm(self, algorithm: BaseAlgorithm) -> bool:
        """Whether it sees an algorithm for the first time."""
        new = self._algorithm is None or self._algorithm() is not algorithm
        self._algorithm = weakref.ref(algorithm)
        return new

    def is_new_env(self, env: VecEnv) -> bool:
        """Whether it sees environments for the first time."""
        new = env not in self._environments
        self._environments.add(env)
        return new

    def _hook_callbacks(self) -> list[EpisodeCallback]:
        """All ``EpisodeCallback`` of this ``learn()``, once each."""
        return list({id(one): one for one in self.siblings() if isinstance(one, EpisodeCallback)}.values())
