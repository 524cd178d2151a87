"""A list of callbacks that can change during training."""

from __future__ import annotations

from collections.abc import Iterable, MutableSequence
from numbers import Real
from typing import Any, overload

from stable_baselines3.common.callbacks import BaseCallback, CallbackList

from velora_sb3.callbacks.collection.live_callbacks import LiveCallbacks, class_name

Which = BaseCallback | type[BaseCallback]


class CallbackCollection(LiveCallbacks, MutableSequence[BaseCallback]):
    """SB3's ``CallbackList`` as a mutable list, with priorities and optional error isolation.

    Callbacks run in the order of the list. ``append`` and ``extend`` insert by the attribute ``priority`` (0 if there
    is none): higher ones first, equal ones in the order of insertion. ``insert`` and the ``move_to_`` methods ignore
    priorities.

    The list may change during training, even from within a callback. The current event still reaches the callbacks that
    it began with; after it, new callbacks are initialized and started, and removed ones are ended.

    A callback whose ``_on_step`` returns None raises a ``TypeError``; SB3 would silently stop training.

    Args:
        callbacks: The callbacks; they may be collections and ``CallbackList`` themselves.
        on_error: ``"raise"`` stops training when a callback raises, as SB3 does. ``"warn"`` issues a warning with the
            traceback and continues with the other callbacks. Ctrl-C always stops training.
        max_errors: With ``"warn"``, the number of errors after which a callback is disabled: only its end is still
            called. A callback that fails to start is disabled at once.

    Attributes:
        errors: Tracebacks by callback, since training began.
        disabled: Callbacks that are no longer called.

    Raises:
        TypeError: If an element is not a callback, or its priority is not a number.
        ValueError: If a callback is listed twice, or an argument is out of range.
    """

    def __init__(self, callbacks: Iterable[BaseCallback] = (), *, on_error: str = "raise", max_errors: int = 3) -> None:
        super().__init__(on_error, max_errors)
        given: object = callbacks
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise TypeError(f"callbacks must be a list of callbacks, got {given!r}")
        self.extend(callbacks)

    def __len__(self) -> int:
        """The number of callbacks."""
        return len(self.callbacks)

    @overload
    def __getitem__(self, index: int) -> BaseCallback: ...

    @overload
    def __getitem__(self, index: slice) -> list[BaseCallback]: ...

    def __getitem__(self, index: int | slice) -> BaseCallback | list[BaseCallback]:
        """The callback at an index, or a plain list for a slice."""
        return self.callbacks[index]

    def __setitem__(self, index: Any, callback: Any) -> None:
        """Replace the callback at an index, or a slice."""
        value = list(callback) if isinstance(index, slice) else callback  # an iterator serves once
        changed = list(self.callbacks)
        changed[index] = value
        for one in value if isinstance(index, slice) else [value]:
            self._check(one, changed)
        self._change(changed)

    def __delitem__(self, index: int | slice) -> None:
        """Remove the callback at an index, or a slice."""
        changed = list(self.callbacks)
        del changed[index]
        self._change(changed)

    def __contains__(self, which: object) -> bool:
        """Whether it contains a callback, or any instance of a class."""
        return bool(self._found(which))

    def insert(self, index: int, callback: BaseCallback) -> None:
        """Insert a callback at an index, regardless of its priority.

        Args:
            index: The index, as for a list.
            callback: The callback.
        """
        changed = list(self.callbacks)
        changed.insert(index, callback)
        self._check(callback, changed)
        self._change(changed)

    def append(self, callback: BaseCallback) -> None:
        """Add a callback after those of the same or a higher priority.

        Args:
            callback: The callback.
        """
        behind = [place for place, other in enumerate(self, 1) if priority_of(other) >= priority_of(callback)]
        self.insert(max(behind, default=0), callback)

    def remove(self, which: Which) -> None:
        """Remove a callback, or all instances of a class. During training they are ended.

        Args:
            which: The callback, or the class.

        Raises:
            ValueError: If there is none.
        """
        gone = self._found(which) or self._none(which)
        self._change([callback for callback in self if callback not in gone])

    def move_to_front(self, which: Which) -> None:
        """Move a callback to the front, regardless of its priority.

        Args:
            which: The callback, or its class if there is one instance.
        """
        self.move_to_position(which, 0)

    def move_to_back(self, which: Which) -> None:
        """Move a callback to the back, regardless of its priority.

        Args:
            which: The callback, or its class if there is one instance.
        """
        self.move_to_position(which, -1)

    def move_to_position(self, which: Which, position: int) -> None:
        """Move a callback to an index, regardless of its priority.

        Args:
            which: The callback, or its class if there is one instance.
            position: The new index; negative indices count from the end.

        Raises:
            IndexError: If the index is out of range.
            ValueError: If there is no such callback, or more than one instance of the class.
        """
        found = self._found(which) or self._none(which)
        if len(found) > 1:
            raise ValueError(f"the collection has {len(found)} {class_name(which)} callbacks: pass the one to move")
        if not -len(self) <= position < len(self):
            raise IndexError(f"position must be from {-len(self)} to {len(self) - 1}, got {position}")
        changed = [callback for callback in self if callback is not found[0]]
        changed.insert(position % len(self), found[0])
        self._change(changed)

    def reverse(self) -> None:
        """Reverse the order."""
        self._change(self.callbacks[::-1])

    def __repr__(self) -> str:
        """The classes of the callbacks."""
        names = ", ".join(type(callback).__name__ for callback in self)
        return f"CallbackCollection([{names}])"

    def _found(self, which: object) -> list[BaseCallback]:
        if isinstance(which, type):
            return [callback for callback in self.callbacks if isinstance(callback, which)]
        return [callback for callback in self.callbacks if callback is which]

    def _none(self, which: object) -> list[BaseCallback]:
        raise ValueError(f"{class_name(which)} is not in {self!r}")

    def _check(self, callback: object, changed: list[BaseCallback]) -> None:
        """Raise if a callback cannot be in a collection of these."""
        if not isinstance(callback, BaseCallback):
            hint = f": create an instance, {class_name(callback)}(...)" if isinstance(callback, type) else ""
            raise TypeError(f"a collection holds SB3 callbacks, got {callback!r}{hint}")
        if self is callback or (isinstance(callback, CallbackList) and _contains(callback, self)):
            raise ValueError("a collection cannot contain itself, nor a list that contains it")
        if sum(one is callback for one in changed) > 1:
            raise ValueError(f"this {class_name(callback)} is already in the collection: create another one")
        priority_of(callback)


def _contains(outer: CallbackList, callback: BaseCallback) -> bool:
    """Whether a list contains a callback, at any depth."""
    return any(
        one is callback or (isinstance(one, CallbackList) and _contains(one, callback)) for one in outer.callbacks
    )


def priority_of(callback: BaseCallback) -> float:
    """The priority of a callback."""
    priority: object = getattr(callback, "priority", 0)
    if isinstance(priority, bool) or not isinstance(priority, Real):
        raise TypeError(f"the priority of {class_name(callback)} must be a number, got {priority!r}")
    return float(priority)
