"""A list of callbacks that may change, and whose callbacks may fail, during training."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from stable_baselines3.common.callbacks import BaseCallback, CallbackList

from velora_sb3._signals import unmasked_signals
from velora_sb3._validation import check_choice, check_integer
from velora_sb3.callbacks.base.callback import VeloraCallback, without_run

T = TypeVar("T")
Self = TypeVar("Self", bound="LiveCallbacks")


class LiveCallbacks(CallbackList):
    """How :class:`~velora_sb3.callbacks.CallbackCollection` forwards SB3's hooks to its callbacks."""

    def __init__(self, on_error: str, max_errors: int) -> None:
        super().__init__([])
        self.on_error = check_choice("on_error", on_error, ("raise", "warn"))
        self.max_errors = check_integer("max_errors", max_errors)
        self.errors: dict[BaseCallback, list[str]] = {}
        self.disabled: list[BaseCallback] = []
        self._has_model = self._is_running = self._is_busy = False
        self._initialized: list[BaseCallback] = []
        self._started: list[BaseCallback] = []
        self._synced: list[BaseCallback] = []  # the list at the last _sync()

    def __getstate__(self) -> dict[str, Any]:
        """What a copy has, also one in another process: the callbacks, but neither model nor run."""
        return {**without_run(self), "_has_model": False, "_is_running": False}

    def __enter__(self: Self) -> Self:
        """Return the collection."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End all callbacks that are still running."""
        started, self._is_running, self._started = self._started, False, []
        for callback in started:
            self._guarded(callback, lambda one: _exit(one, kind, error, at), None)

    # SB3's hooks.

    def _init_callback(self) -> None:
        self.errors, self.disabled, self._initialized, self._started = {}, [], [], []
        self._has_model, self._is_running, self._is_busy = True, False, False
        self._sync()

    def _on_training_start(self) -> None:
        _pass_on_parent(self)
        self._is_running = True
        self._sync()

    def _on_rollout_start(self) -> None:
        self._call_all(lambda callback: callback.on_rollout_start(), None)

    def update_child_locals(self, locals_: dict[str, Any]) -> None:
        """As SB3's."""
        self._call_all(lambda callback: callback.update_locals(locals_), None)

    def _on_step(self) -> bool:
        return all(self._call_all(_step, True))

    def _on_rollout_end(self) -> None:
        self._call_all(lambda callback: callback.on_rollout_end(), None)

    def _on_training_end(self) -> None:
        self._is_running = False  # callbacks that are added now come too late
        for callback in [callback for callback in self.callbacks if callback in self._initialized]:
            self._guarded(callback, lambda one: one.on_training_end(), None)
        self._started = []

    def _change(self, changed: list[BaseCallback]) -> None:
        self.callbacks = changed  # a new list, as the old one may be iterated over
        if not self._is_busy:
            self._sync()

    def _call_all(self, hook: Callable[[BaseCallback], T], default: T) -> list[T]:
        if self._synced != self.callbacks:  # anyone may change SB3's attribute
            self._sync()
        self._is_busy = True
        try:
            enabled = [callback for callback in self.callbacks if callback not in self.disabled]
            results = [self._guarded(callback, hook, default) for callback in enabled]
        finally:
            self._is_busy = False
        if self._synced != self.callbacks:
            self._sync()
        return results

    def _sync(self) -> None:
        """Initialize and start new callbacks, and end removed ones, until nothing changes."""
        self._is_busy = True
        try:
            while self._sync_one():
                pass
            self._synced = list(self.callbacks)
        finally:
            self._is_busy = False

    def _sync_one(self) -> bool:
        for callback in self._started:
            if callback not in self.callbacks:
                self._started.remove(callback)
                self._guarded(callback, lambda one: one.on_training_end(), None)
                return True
        self._initialized = [callback for callback in self._initialized if callback in self.callbacks]
        for callback in self.callbacks if self._has_model else ():
            if callback not in self._initialized and callback not in self.disabled:
                self._initialized.append(callback)
                self._guarded(callback, self._initialize, None, required=True)
                return True
        for callback in self.callbacks if self._is_running else ():
            if callback not in self._started and callback not in self.disabled:
                self._started.append(callback)
                self._guarded(
                    callback, lambda one: one.on_training_start(self.locals, self.globals), None, required=True
                )
                return True
        return False

    def _initialize(self, callback: BaseCallback) -> None:
        callback.parent = self.parent  # SB3 sets it afterwards, too late for nested lists
        callback.init_callback(self.model)

    def _guarded(
        self, callback: BaseCallback, hook: Callable[[BaseCallback], T], default: T, required: bool = False
    ) -> T:
        try:
            with unmasked_signals():
                return hook(callback)
        except Exception as error:  # not a KeyboardInterrupt
            if self.on_error == "raise":
                raise
            self._record(callback, error, required)
            return default

    def _record(self, callback: BaseCallback, error: Exception, required: bool) -> None:
        errors = self.errors.setdefault(callback, [])
        errors.append("".join(traceback.format_exception(error)))
        text = f"{class_name(callback)} raised at timestep {self.model.num_timesteps} (error {len(errors)})"
        if callback not in self.disabled and (required or len(errors) >= self.max_errors):
            self.disabled.append(callback)
            text += " and is disabled"
        if required:  # what has not started has no end
            self._initialized = [one for one in self._initialized if one is not callback]
            self._started = [one for one in self._started if one is not callback]
        warnings.warn(f"{text}:\n{errors[-1]}", RuntimeWarning, stacklevel=2)


def class_name(which: object) -> str:
    """The class of a callback, for messages."""
    return (which if isinstance(which, type) else type(which)).__name__


def _pass_on_parent(callbacks: CallbackList) -> None:
    """SB3 sets the parent of a list in a list after it has initialized the callbacks below."""
    for callback in callbacks.callbacks:
        callback.parent = callbacks.parent
        if isinstance(callback, CallbackList):
            _pass_on_parent(callback)


def _step(callback: BaseCallback) -> bool:
    proceed: object = callback.on_step()
    if proceed is None:
        raise TypeError(
            f"_on_step() of {class_name(callback)} returned None: return True to continue training, False to stop it"
        )
    return bool(proceed)


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
