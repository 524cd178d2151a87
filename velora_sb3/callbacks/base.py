"""What all of our callbacks have in common."""

from __future__ import annotations

import atexit
import sys
import weakref
from collections.abc import Iterator
from types import TracebackType
from typing import Any, TypeVar

from stable_baselines3.common.callbacks import BaseCallback, EvalCallback

from velora_sb3.callbacks.episodes import Episode, EpisodeCounter

Self = TypeVar("Self", bound="VeloraCallback")


class VeloraCallback(BaseCallback):
    """SB3's ``BaseCallback`` with a description, episodes, a state and one certain end.

    A subclass overrides what it needs of ``_on_start``, ``_on_episode``, ``_on_every_step``, ``_on_rollout_start``,
    ``_on_rollout_end`` and ``_on_end``, and says what it is in :meth:`config` and :meth:`info`.

    The end: ``_on_end`` runs once per ``learn()``, whoever calls ``on_training_end`` how often. SB3 does not call it
    when ``learn()`` raises or Ctrl-C cuts it short. Then it runs at the end of a ``with`` block around ``learn()``,
    else when the callback starts again, else when the program ends.

    Args:
        verbose: 0 for silence, 1 to print :meth:`info` when training starts.

    Attributes:
        cut_short: At the end, whether ``learn()`` did not get to its own end.
    """

    def __init__(self, verbose: int = 0) -> None:
        super().__init__(verbose)
        self.cut_short = False
        self._running = False
        self._restored: dict[str, Any] | None = None

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
            state["episodes"] = EpisodeCounter.of(self.model).state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state: before training starts, or after.

        Args:
            state: What :meth:`state_dict` gave.
        """
        self.n_calls = int(state["n_calls"])
        self._restored = state

    def __enter__(self: Self) -> Self:
        """The callback itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End, if training has not ended in peace."""
        self.on_training_end()

    # What subclasses override.

    def _on_start(self) -> None:
        """Training starts."""

    def _on_episode(self, episode: Episode) -> bool:
        """An episode of training has ended; return False to stop training."""
        return True

    def _on_every_step(self) -> bool:
        """The environments took a step; return False to stop training."""
        return True

    def _on_end(self) -> None:
        """Training is over, or was cut short."""

    # SB3's hooks.

    def on_training_start(self, locals_: dict[str, Any], globals_: dict[str, Any]) -> None:
        """As SB3's; ends first what an interrupted ``learn()`` left open."""
        self._end(cut_short=True)
        super().on_training_start(locals_, globals_)

    def _on_training_start(self) -> None:
        self._running = True
        _RUNNING.add(self)
        counter = EpisodeCounter.of(self.model)
        counter.start(self.model.num_timesteps)
        if self._restored is not None and "episodes" in self._restored:
            counter.load_state_dict(self._restored["episodes"])
        self._restored = None
        if self.verbose >= 1:
            print(self.info())
        self._on_start()

    def _on_step(self) -> bool:
        going_on = self._on_every_step()
        for episode in self.episodes.step(self.model, self.locals):
            going_on = self._on_episode(episode) and going_on
        return bool(going_on)

    def on_rollout_end(self) -> None:
        """As SB3's; the episodes of algorithms that show callbacks no steps come here."""
        for episode in self.episodes.rollout_end(self.model, self.locals):
            self._on_episode(episode)
        super().on_rollout_end()

    def on_training_end(self) -> None:
        """As SB3's, but more than one call does no harm."""
        self._end(cut_short=not self._called_by_learn())

    def _end(self, cut_short: bool) -> None:
        if self._running:
            self._running, self.cut_short = False, cut_short
            _RUNNING.discard(self)
            self._on_training_end()

    def _called_by_learn(self) -> bool:
        """Others end callbacks too: RL Zoo after a Ctrl-C, ``with``, and the end of the program."""
        frame = sys._getframe()
        while frame.f_back is not None:
            frame = frame.f_back
            if frame.f_code.co_name == "learn" and frame.f_locals.get("self") is getattr(self, "model", None):
                return True
        return False

    def _on_training_end(self) -> None:
        self._on_end()

    # What subclasses use.

    @property
    def episodes(self) -> EpisodeCounter:
        """The counter of episodes that all callbacks of the model share."""
        return EpisodeCounter.of(self.model)

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
    """A callback and everything in it.

    Args:
        callback: Any callback of SB3's: a list, an event, a single one.

    Yields:
        The callbacks, a holder before what it holds; pure lists are left out.
    """
    children = getattr(callback, "callbacks", None)
    if isinstance(children, list):
        for child in children:
            yield from walk(child)
        return
    yield callback
    for name in ("callback_on_new_best", "callback"):
        child = getattr(callback, name, None)
        if isinstance(child, BaseCallback):
            yield from walk(child)


_RUNNING: weakref.WeakSet[VeloraCallback] = weakref.WeakSet()


@atexit.register
def _end_what_still_runs() -> None:
    for callback in list(_RUNNING):
        callback.on_training_end()
