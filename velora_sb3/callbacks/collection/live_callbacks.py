"""Callbacks that may come, go and fail while a model learns."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from stable_baselines3.common.callbacks import BaseCallback, CallbackList

from velora_sb3._validation import check_integer
from velora_sb3.callbacks.base.callback import VeloraCallback

T = TypeVar("T")
Self = TypeVar("Self", bound="LiveCallbacks")


class LiveCallbacks(CallbackList):
    """What :class:`~velora_sb3.callbacks.CallbackCollection` does at SB3's hooks.

    An event goes to the callbacks that are there when it begins. Afterwards those that are new are initialised and
    started, and those that are gone are ended.

    Attributes:
        errors: The tracebacks by callback, since training began.
        disabled: The callbacks that are not called any more.
    """

    def __init__(self, on_error: str, max_errors: int) -> None:
        super().__init__([])
        if on_error not in ("raise", "warn"):
            raise ValueError(f'on_error must be "raise" or "warn", got {on_error!r}')
        self.on_error, self.max_errors = on_error, check_integer("max_errors", max_errors)
        self.errors: dict[BaseCallback, list[str]] = {}
        self.disabled: list[BaseCallback] = []
        self._has_model = self._is_running = self._is_busy = False
        self._initialised: list[BaseCallback] = []
        self._started: list[BaseCallback] = []
        self._settled: list[BaseCallback] = []  # the list when it was last seen to

    def __enter__(self: Self) -> Self:
        """The callbacks themselves."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End all of them, if training has not ended in peace."""
        started, self._is_running, self._started = self._started, False, []
        for callback in started:
            self._guarded(callback, lambda one: _exit(one, kind, error, at), None)

    # SB3's hooks.

    def _init_callback(self) -> None:
        self.errors, self.disabled, self._initialised, self._started = {}, [], [], []
        self._has_model, self._is_running, self._is_busy = True, False, False
        self._settle()

    def _on_training_start(self) -> None:
        self._is_running = True
        self._settle()

    def _on_rollout_start(self) -> None:
        self._tell(lambda callback: callback.on_rollout_start(), None)

    def update_child_locals(self, locals_: dict[str, Any]) -> None:
        """As SB3's."""
        self._tell(lambda callback: callback.update_locals(locals_), None)

    def _on_step(self) -> bool:
        return all(self._tell(_step, True))

    def _on_rollout_end(self) -> None:
        self._tell(lambda callback: callback.on_rollout_end(), None)

    def _on_training_end(self) -> None:
        self._is_running = False  # what is added now has come too late
        for callback in [callback for callback in self.callbacks if callback in self._initialised]:
            self._guarded(callback, lambda one: one.on_training_end(), None)
        self._started = []

    # How.

    def _change(self, changed: list[BaseCallback]) -> None:
        self.callbacks = changed  # a new list: whoever walks along the old one does so to its end
        if not self._is_busy:
            self._settle()

    def _tell(self, what: Callable[[BaseCallback], T], otherwise: T) -> list[T]:
        if self._settled != self.callbacks:  # SB3's attribute is open to everyone
            self._settle()
        self._is_busy = True
        try:
            told = [callback for callback in self.callbacks if callback not in self.disabled]
            answers = [self._guarded(callback, what, otherwise) for callback in told]
        finally:
            self._is_busy = False
        if self._settled != self.callbacks:
            self._settle()
        return answers

    def _settle(self) -> None:
        """Initialise and start what is new, end what is gone, until nothing changes any more."""
        self._is_busy = True
        try:
            while self._next_one_settled():
                pass
            self._settled = list(self.callbacks)
        finally:
            self._is_busy = False

    def _next_one_settled(self) -> bool:
        for callback in self._started:
            if callback not in self.callbacks:
                self._started.remove(callback)
                self._guarded(callback, lambda one: one.on_training_end(), None)
                return True
        self._initialised = [callback for callback in self._initialised if callback in self.callbacks]
        for callback in self.callbacks if self._has_model else ():
            if callback not in self._initialised and callback not in self.disabled:
                self._initialised.append(callback)
                self._guarded(callback, self._initialise, None, needed=True)
                return True
        for callback in self.callbacks if self._is_running else ():
            if callback not in self._started and callback not in self.disabled:
                self._started.append(callback)
                self._guarded(callback, lambda one: one.on_training_start(self.locals, self.globals), None, needed=True)
                return True
        return False

    def _initialise(self, callback: BaseCallback) -> None:
        callback.parent = self.parent  # before, so that lists in lists have it: SB3 gives it afterwards
        callback.init_callback(self.model)

    def _guarded(
        self, callback: BaseCallback, action: Callable[[BaseCallback], T], otherwise: T, needed: bool = False
    ) -> T:
        try:
            return action(callback)
        except Exception as error:  # a KeyboardInterrupt is none
            if self.on_error == "raise":
                raise
            self._note(callback, error, needed)
            return otherwise

    def _note(self, callback: BaseCallback, error: Exception, needed: bool) -> None:
        told = self.errors.setdefault(callback, [])
        told.append("".join(traceback.format_exception(error)))
        text = f"{class_name(callback)} raised at timestep {self.model.num_timesteps} (error {len(told)})"
        if callback not in self.disabled and (needed or len(told) >= self.max_errors):
            self.disabled.append(callback)
            text += " and is not called any more"
        if needed:  # what has not started has no end
            self._initialised = [one for one in self._initialised if one is not callback]
            self._started = [one for one in self._started if one is not callback]
        warnings.warn(f"{text}:\n{told[-1]}", RuntimeWarning, stacklevel=2)


def class_name(which: object) -> str:
    """What a callback is called in a message."""
    return (which if isinstance(which, type) else type(which)).__name__


def _step(callback: BaseCallback) -> bool:
    going_on: object = callback.on_step()
    if going_on is None:
        raise TypeError(
            f"_on_step() of {class_name(callback)} returned None: return True to go on with training, False to stop it"
        )
    return bool(going_on)


def _exit(
    callback: BaseCallback, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
) -> None:
    if isinstance(callback, VeloraCallback | LiveCallbacks):
        callback.__exit__(kind, error, at)
    elif isinstance(callback, CallbackList):
        for child in callback.callbacks:
            _exit(child, kind, error, at)
    else:
        callback.on_training_end()
