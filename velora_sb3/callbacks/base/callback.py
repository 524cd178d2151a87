"""What all of our callbacks have in common."""

from __future__ import annotations

import atexit
import gc
import traceback
import weakref
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Any, TypeVar

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, EvalCallback

from velora_sb3.callbacks.base.episodes import Episode, EpisodeCounter

Self = TypeVar("Self", bound="VeloraCallback")


class VeloraCallback(BaseCallback):
    """SB3's ``BaseCallback`` with a description, episodes, a state and one certain end.

    A subclass overrides what it needs of ``_on_start``, ``_on_episode``, ``_on_every_step``, ``_on_rollout_start``,
    ``_on_rollout_end`` and ``_on_end``, and says what it is in :meth:`config` and :meth:`info`.

    As a child of an event (``EvalCallback``, ``EveryNTimesteps``) it is called when the event happens: first
    ``_on_episode`` for every episode that has ended since the last time, then ``_on_every_step`` once. SB3 calls no
    ``_on_rollout_start`` and ``_on_rollout_end`` there, and under ``callback_on_new_best`` there are no episodes.

    The end: ``_on_end`` runs once per ``learn()``, whoever calls ``on_training_end`` how often. SB3 does not call it
    when ``learn()`` raises or Ctrl-C cuts it short, nor for the children of an event. Then it runs at the end of a
    ``with`` block around ``learn()``, else when the callback is used again or is dropped, else when the program ends.
    One that Python's garbage collector finds ends as soon as another callback is made or used.

    Args:
        verbose: 0 for silence, 1 to print :meth:`info` when training starts.

    Attributes:
        priority: In a ``CallbackCollection`` those with a higher one are called earlier.
    """

    priority: float = 0

    def __init__(self, verbose: int = 0) -> None:
        super().__init__(verbose)
        end_collected()
        self._running = False
        self.interrupted = False  # whether the end came from elsewhere than from SB3
        self._restored: dict[str, Any] | None = None
        self._counter: EpisodeCounter | None = None
        self._heard: int | None = None  # the timestep up to which episodes were taken in; None: it cannot hear of them
        self._waiting: deque[Episode] = deque()

    def config(self) -> tuple[str, dict[str, Any]]:
        """Name and settings, as JSON can hold them, for the run's configuration.

        Returns:
            The class's name, and the settings by the constructor's argument names.
        """
        return type(self).__name__, {}

    def info(self) -> str:
        """What the callback is going to do, in one or two lines for people.

        Returns:
            The text.
        """
        name, settings = self.config()
        told = ", ".join(f"{key}={value!r}" for key, value in settings.items())
        return f"{name}({told})"

    def state_dict(self) -> dict[str, Any]:
        """Everything that a later run must know to go on as if nothing had happened, as plain data.

        Returns:
            A dict that JSON can hold.
        """
        state: dict[str, Any] = {"n_calls": self.n_calls}
        if getattr(self, "model", None) is not None:
            state["episodes"] = self.episodes.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state: before training starts, or after.

        Args:
            state: What :meth:`state_dict` gave.
        """
        self.n_calls = int(state["n_calls"])
        self._restored = state

    def discard_running_episodes(self) -> None:
        """Forget the episodes in flight of a state that was loaded: the environments will be reset."""
        if self._restored is not None:
            finished = self._restored.get("episodes", {}).get("finished")
            self._restored = None if finished is None else {"episodes": {"finished": finished}}

    def __enter__(self: Self) -> Self:
        """The callback itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End, if training has not ended in peace."""
        self._end(interrupted=kind is not None)

    def __del__(self) -> None:
        """End, if nobody can end it any more."""
        if not self.__dict__.get("_running", False):
            return
        if _collecting:
            _COLLECTED.append(self)
        else:
            self._end(interrupted=True)

    # What subclasses override.

    def _on_start(self) -> None:
        """Training starts."""

    def _on_episode(self, episode: Episode) -> bool:
        """An episode of training has ended; return False to stop training."""
        return True

    def _on_every_step(self) -> bool:
        """The environments took a step, or the event happened; return False to stop training."""
        return True

    def _on_end(self) -> None:
        """Training is over, or was cut short."""

    # SB3's hooks.

    def init_callback(self, model: BaseAlgorithm) -> None:
        """As SB3's; ends first what an interrupted ``learn()`` left open, while its model is still at hand."""
        end_collected()
        self._end(interrupted=True)
        self._counter = None
        super().init_callback(model)

    def _on_training_start(self) -> None:
        if not self._running:  # a callback may stand in two places
            EpisodeCounter.of(self.model).start(self.model, self.locals.get("dones"))
            self._begin(self.model.num_timesteps)

    def _begin(self, heard: int | None) -> None:
        self._running, self.interrupted = True, False
        _RUNNING.add(self)
        self._counter = EpisodeCounter.of(self.model)
        self._heard = heard
        self._waiting.clear()
        if self._restored is not None and "episodes" in self._restored:
            self._counter.load_state_dict(self._restored["episodes"])
        self._restored = None
        if self.verbose >= 1:
            print(self.info())
        try:
            self._on_start()
        except BaseException:  # what has not started has no end
            self._running = False
            _RUNNING.discard(self)
            raise

    def update_locals(self, locals_: dict[str, Any]) -> None:
        """As SB3's. The children of an event hear of every step here, and only here."""
        super().update_locals(locals_)
        if _COLLECTED:
            end_collected()
        if self._running:
            self.num_timesteps = self.model.num_timesteps
            self._listen()

    def _listen(self) -> None:
        if self._heard is not None and self._heard != self.model.num_timesteps:
            self._heard = self.model.num_timesteps
            self._waiting.extend(self.episodes.step(self.model, self.locals))

    def _on_step(self) -> bool:
        if not self._running:  # callback_on_new_best: SB3 tells it neither of the start nor of the steps
            if self.parent is not None:
                self.locals, self.globals = self.parent.locals, self.parent.globals
            self._begin(None)
        self._listen()
        going_on = True
        while self._waiting:
            going_on = self._on_episode(self._waiting.popleft()) and going_on
        return bool(self._on_every_step() and going_on)

    def on_rollout_end(self) -> None:
        """As SB3's; the episodes of algorithms that show callbacks no steps come here."""
        for episode in self.episodes.rollout_end(self.model, self.locals):
            self._on_episode(episode)
        super().on_rollout_end()

    def on_training_end(self) -> None:
        """As SB3's, but more than one call does no harm."""
        self._end(interrupted=False)

    def _end(self, interrupted: bool) -> None:
        if self._running:
            self._running = False
            _RUNNING.discard(self)
            self.interrupted = interrupted
            self._on_training_end()

    def _on_training_end(self) -> None:
        self._on_end()

    # What subclasses use.

    @property
    def episodes(self) -> EpisodeCounter:
        """The counter of episodes that all callbacks of the model share."""
        # Kept in hand: when both are dropped together, the model is no longer to be looked up by.
        return EpisodeCounter.of(self.model) if self._counter is None else self._counter

    @property
    def is_new_run(self) -> bool:
        """Whether the running ``learn()`` began at timestep 0 instead of going on."""
        return self.model._num_timesteps_at_start == 0

    def evaluation(self) -> EvalCallback | None:
        """The ``EvalCallback`` that this callback is a child of, at any depth.

        Returns:
            The callback; None if this one listens to training itself.
        """
        parent = self.parent
        while parent is not None and not isinstance(parent, EvalCallback):
            parent = parent.parent
        return parent

    def siblings(self) -> list[BaseCallback]:
        """Every callback of the running ``learn()``, this one too, in the order in which they are called.

        Returns:
            The callbacks, without the lists and events that hold them only.
        """
        everyone = list(walk(self.locals["callback"])) if "callback" in self.locals else []
        return everyone if self in everyone else [*everyone, self]


def walk(callback: BaseCallback) -> Iterator[BaseCallback]:
    """A callback and everything in it."""
    if isinstance(callback, CallbackList):
        for child in callback.callbacks:
            yield from walk(child)
        return
    yield callback
    for name in ("callback_on_new_best", "callback"):
        held = getattr(callback, name, None)
        if isinstance(held, BaseCallback):
            yield from walk(held)


_RUNNING: weakref.WeakSet[VeloraCallback] = weakref.WeakSet()
# Garbage is collected wherever Python makes an object, also while a lock is held that the end would wait for.
_COLLECTED: deque[VeloraCallback] = deque()
_collecting = False


def _note_collection(phase: str, _: dict[str, int]) -> None:
    global _collecting
    _collecting = phase == "start"


gc.callbacks.append(_note_collection)


def end_collected() -> None:
    """End the callbacks that the garbage collector found running: a moment for that has come."""
    while _COLLECTED:
        _end_for_nobody(_COLLECTED.popleft())


def _end_for_nobody(callback: VeloraCallback) -> None:
    try:
        callback._end(interrupted=True)
    except Exception:  # the next one must end too
        traceback.print_exc()


@atexit.register
def _end_what_still_runs() -> None:
    end_collected()
    for callback in list(_RUNNING):
        _end_for_nobody(callback)
