"""The base class of every callback of this package."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import asdict
from types import TracebackType
from typing import Any, TypeVar

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback, EventCallback

from velora_sb3._signals import postponed_signals
from velora_sb3.callbacks.base.episodes import Episode, EpisodeCounter
from velora_sb3.callbacks.base.running import add_running, end_interrupted, remove_running, running_callbacks
from velora_sb3.callbacks.base.triggers import EveryTimesteps
from velora_sb3.checkpoints.state.callbacks import walk

Self = TypeVar("Self", bound="VeloraCallback")


class VeloraCallback(BaseCallback):
    """SB3's ``BaseCallback`` with a description, episodes, a state and exactly one end.

    Subclasses override any of ``_on_start``, ``_on_episode``, ``_on_every_step``, ``_on_rollout_start``,
    ``_on_rollout_end`` and ``_on_end``, and describe themselves in :meth:`config` and :meth:`info`. SB3's own
    ``_init_callback``, ``_on_training_start``, ``_on_step`` and ``_on_training_end`` may be overridden as well, with or
    without a call of ``super()``.

    As a child of an event (``EvalCallback``, ``EveryNTimesteps``) it is called when the event fires: first
    ``_on_episode`` for each episode that ended since the last event, then ``_on_every_step`` once. SB3 does not call
    ``_on_rollout_start`` and ``_on_rollout_end`` there, and ``callback_on_new_best`` receives no episodes.

    ``_on_end`` runs once per ``learn()``, however often ``on_training_end`` is called. SB3 does not call it after an
    error or Ctrl-C, nor for children of events. ``_on_end`` then runs at the end of a ``with`` block around
    ``learn()``; without one, when the callback or its model starts another ``learn()``, else when the program exits.
    Until it ends, a callback that has started is kept alive, and its model with it. A forked process does not end the
    callbacks of its parent.

    While a callback runs, SIGTERM and SIGHUP raise ``SystemExit`` in the main thread, so that callbacks end as after
    Ctrl-C. A signal that the program handles or ignores itself is left alone.

    Args:
        verbose: 0 for no output, 1 to print :meth:`info` when training starts.

    Attributes:
        priority: A ``CallbackCollection`` calls callbacks with a higher priority first.
        interrupted: Whether the last end came after an error or Ctrl-C. Children of an event that end without a
            ``with`` block count as interrupted too, because nothing says that their ``learn()`` returned.
    """

    priority: float = 0
    _needs_every_step = False  # whether it cannot be the child of an event
    _trigger: EveryTimesteps | None = None  # of subclasses that act once per period
    _owner_pid = 0  # the process in which it was started

    def __init__(self, verbose: int = 0) -> None:
        super().__init__(verbose)
        self._has_started = False
        self.interrupted = False
        self._restored: dict[str, Any] | None = None
        self._episode_counter: EpisodeCounter | None = None
        self._last_counted: int | None = None  # timestep of the latest step that was counted; None: not counting
        self._pending_episodes: deque[Episode] = deque()  # for the next event

    def config(self) -> tuple[str, dict[str, Any]]:
        """Name and settings for the run's configuration.

        Returns:
            The class name, and the settings under the names of the constructor's arguments, as JSON can hold them.
        """
        return type(self).__name__, {}

    def info(self) -> str:
        """What the callback will do, in one or two lines.

        Returns:
            The text.
        """
        name, settings = self.config()
        arguments = ", ".join(f"{key}={value!r}" for key, value in settings.items())
        return f"{name}({arguments})"

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs to continue exactly, as plain data.

        Returns:
            A dict that JSON can hold.
        """
        state: dict[str, Any] = {"n_calls": self.n_calls}
        if self._episode_counter is not None or getattr(self, "model", None) is not None:
            state["episodes"] = self.episodes.state_dict()
            state["pending"] = [asdict(episode) for episode in self._pending_episodes]
        if self._trigger is not None and self._trigger.timestep is not None:
            state["trigger"] = self._trigger.timestep
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state, before training starts or after.

        Args:
            state: A state from :meth:`state_dict`.
        """
        self.n_calls = int(state["n_calls"])
        self._pending_episodes = deque(Episode(**episode) for episode in state.get("pending", ()))
        if self._trigger is not None and "trigger" in state:
            self._trigger.timestep = int(state["trigger"])
        self._restored = state

    def discard_running_episodes(self) -> None:
        """Drop the running episodes of a restored state, because the environments will be reset."""
        if self._restored is not None:
            finished = self._restored.get("episodes", {}).get("finished")
            self._restored = None if finished is None else {"episodes": {"finished": finished}}

    def __getstate__(self) -> dict[str, Any]:
        """What a copy has, also one in another process: settings and state, but neither model nor run."""
        return {**without_run(self), "_has_started": False}

    def __enter__(self: Self) -> Self:
        """The callback itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the callback if ``learn()`` did not."""
        self._end(interrupted=kind is not None)

    # What subclasses override.

    def _on_start(self) -> None:
        """Training starts."""

    def _on_episode(self, episode: Episode) -> bool:
        """An episode of training has ended; return False to stop training."""
        return True

    def _on_every_step(self) -> bool:
        """The environments took a step, or the event fired; return False to stop training."""
        return True

    def _on_end(self) -> None:
        """Training has ended, or was interrupted."""

    # SB3's hooks. The methods that users override in a BaseCallback, such as _on_step, stay free for them.

    def init_callback(self, model: BaseAlgorithm) -> None:
        """As SB3's, after ending what an interrupted ``learn()`` of this callback or of this model left running."""
        self._end(interrupted=True)
        for other in running_callbacks():
            if other.model is model and other._learn_started != model.start_time:
                end_interrupted(other)
        self._episode_counter = None
        if self._restored is None and getattr(self, "model", model) is not model:  # what another model left
            self._pending_episodes.clear()
            if self._trigger is not None:
                self._trigger.timestep = None
        if isinstance(self.parent, EventCallback):
            self._check_parent()
        super().init_callback(model)

    def _check_parent(self) -> None:
        if self._needs_every_step and self.parent is not None:
            raise ValueError(
                f"{type(self).__name__} must see every step of training: pass it to learn(), alone or in a list, "
                f"not to {type(self.parent).__name__}"
            )

    def on_training_start(self, locals_: dict[str, Any], globals_: dict[str, Any]) -> None:
        """As SB3's."""
        self.locals, self.globals, self.num_timesteps = locals_, globals_, self.model.num_timesteps
        if not self._has_started:  # a callback may be in two places of the list
            EpisodeCounter.of(self.model).start(self.model, self.locals.get("dones"))
            self._begin(self.model.num_timesteps)

    def _begin(self, timestep: int | None) -> None:
        self._check_parent()
        self._has_started, self.interrupted, self._owner_pid = True, False, os.getpid()
        self._learn_started = self.model.start_time  # another one for each learn()
        add_running(self)
        self._episode_counter = EpisodeCounter.of(self.model)
        self._last_counted = timestep
        if self.is_new_run:
            self._pending_episodes.clear()
        if self._trigger is not None and (self.is_new_run or self._trigger.timestep is None):
            self._trigger.timestep = self.model.num_timesteps
        has_stepped = self.model.num_timesteps > self.model._num_timesteps_at_start  # others have counted since
        if self._restored is not None and "episodes" in self._restored and not has_stepped:
            self._episode_counter.load_state_dict(self._restored["episodes"])
        self._restored = None
        if self.verbose >= 1:
            print(self.info())
        try:
            self._on_start()
            self._on_training_start()
        except BaseException:  # what has not started has no end
            self._has_started = False
            remove_running(self)
            raise

    def update_locals(self, locals_: dict[str, Any]) -> None:
        """As SB3's. Children of an event see each step only here."""
        super().update_locals(locals_)
        if self._has_started:
            self.num_timesteps = self.model.num_timesteps
            self._listen()

    def _listen(self) -> None:
        if self._last_counted is not None and self._last_counted != self.model.num_timesteps:
            self._last_counted = self.model.num_timesteps
            self._pending_episodes.extend(self.episodes.step(self.model, self.locals))

    def on_step(self) -> bool:
        """As SB3's."""
        self.n_calls += 1
        self.num_timesteps = self.model.num_timesteps
        if not self._has_started:  # callback_on_new_best: SB3 calls neither on_training_start nor update_locals
            if self.parent is not None:
                self.locals, self.globals = self.parent.locals, self.parent.globals
            self._begin(None)
        self._listen()
        proceed = True
        while self._pending_episodes:
            proceed = self._ask("_on_episode", self._pending_episodes.popleft()) and proceed
        proceed = self._ask("_on_every_step") and proceed
        return self._ask("_on_step") and proceed

    def _ask(self, hook: str, *arguments: Any) -> bool:
        """Whether a hook wants to go on. SB3 would silently stop training where it returns nothing."""
        proceed: object = getattr(self, hook)(*arguments)
        if proceed is None:
            raise TypeError(
                f"{hook}() of {type(self).__name__} returned None: return True to continue training, False to stop it"
            )
        return bool(proceed)

    def _on_step(self) -> bool:
        return True

    def on_rollout_end(self) -> None:
        """As SB3's; episodes of ARS, which exposes no steps, arrive here."""
        for episode in self.episodes.rollout_end(self.model, self.locals):
            self._ask("_on_episode", episode)
        super().on_rollout_end()

    def on_training_end(self) -> None:
        """As SB3's, but idempotent."""
        self._end(interrupted=False)

    def _end(self, interrupted: bool) -> None:
        if not self._has_started:
            return
        self._has_started = False
        try:
            if self._owner_pid == os.getpid():  # a forked process leaves the end to its parent
                self.interrupted = interrupted
                with postponed_signals():
                    try:
                        self._on_end()
                    finally:
                        self._on_training_end()
        finally:
            remove_running(self)

    # What subclasses use.

    @property
    def episodes(self) -> EpisodeCounter:
        """The counter of episodes that all callbacks of the model share."""
        return EpisodeCounter.of(self.model) if self._episode_counter is None else self._episode_counter

    @property
    def is_new_run(self) -> bool:
        """Whether the current ``learn()`` started at timestep 0."""
        return self.model._num_timesteps_at_start == 0

    def evaluation(self) -> EvalCallback | None:
        """The ``EvalCallback`` that this callback is a child of, at any depth.

        Returns:
            The ``EvalCallback``; None if this callback listens to training.
        """
        parent = self.parent
        while parent is not None and not isinstance(parent, EvalCallback):
            parent = parent.parent
        return parent

    def siblings(self) -> list[BaseCallback]:
        """Every callback of the current ``learn()``, this one included, in the order in which they are called.

        Returns:
            The callbacks, without the lists that hold them.
        """
        found = list(walk(self.locals["callback"])) if "callback" in self.locals else []
        return found if self in found else [*found, self]


def without_run(callback: BaseCallback) -> dict[str, Any]:
    """A callback's attributes without those that SB3 sets for ``learn()``; a model and its locals cannot be pickled."""
    state = {**vars(callback), "locals": {}, "globals": {}}
    state.pop("model", None)
    return state
