"""A list of callbacks that can be changed, also in mid-training."""

from __future__ import annotations

from collections.abc import Iterable, MutableSequence
from typing import Any, overload

from stable_baselines3.common.callbacks import BaseCallback, CallbackList

from velora_sb3.callbacks.collection.live_callbacks import LiveCallbacks, class_name

Which = BaseCallback | type[BaseCallback]


class CallbackCollection(LiveCallbacks, MutableSequence[BaseCallback]):
    """SB3's ``CallbackList`` that is also a list, with priorities, and errors that need not end training.

    Callbacks are called in the order of the list. Those that are added are sorted in by their attribute ``priority``
    (0 if they have none): higher ones come earlier, equal ones in the order in which they came. Moving a callback
    puts it anywhere.

    The list may be changed during training, also by one of its callbacks. The event that is going on still reaches
    the callbacks that it began with; after it, those that are new are initialised and started, and those that are gone
    are ended.

    A callback whose ``_on_step`` returns None gets a ``TypeError``: SB3 would stop training without a word.

    Args:
        callbacks: The callbacks; collections and other lists of SB3's too.
        on_error: ``"raise"`` ends training when a callback raises, as in SB3. ``"warn"`` warns with the traceback
            instead, and goes on with the other callbacks. Ctrl-C ends training always.
        max_errors: With ``"warn"``, the number of errors after which a callback is not called any more, except to end
            it. One that cannot even start is not called at all.

    Attributes:
        errors: The tracebacks by callback, since training began.
        disabled: The callbacks that are not called any more.

    Raises:
        TypeError: If something in it is no callback, or its priority no number.
        ValueError: If a callback is in it twice, or another argument is out of its range.
    """

    def __init__(self, callbacks: Iterable[BaseCallback] = (), *, on_error: str = "raise", max_errors: int = 3) -> None:
        super().__init__(on_error, max_errors)
        given: object = callbacks
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise TypeError(f"CallbackCollection takes a list of callbacks, got {given!r}")
        self.extend(callbacks)

    def __len__(self) -> int:
        """The number of callbacks."""
        return len(self.callbacks)

    @overload
    def __getitem__(self, index: int) -> BaseCallback: ...

    @overload
    def __getitem__(self, index: slice) -> list[BaseCallback]: ...

    def __getitem__(self, index: int | slice) -> BaseCallback | list[BaseCallback]:
        """The callback at an index, or a plain list of some."""
        return self.callbacks[index]

    def __setitem__(self, index: Any, callback: Any) -> None:
        """Replace the callback at an index, or a slice."""
        for one in callback if isinstance(index, slice) else [callback]:
            self._check(one)
        changed = list(self.callbacks)
        changed[index] = callback
        self._change(changed)

    def __delitem__(self, index: int | slice) -> None:
        """Take out the callback at an index, or a slice."""
        changed = list(self.callbacks)
        del changed[index]
        self._change(changed)

    def __contains__(self, which: object) -> bool:
        """Whether it holds a callback, or any of a class."""
        return bool(self._found(which))

    def insert(self, index: int, callback: BaseCallback) -> None:
        """Add a callback at an index, whatever its priority.

        Args:
            index: Where it is to stand, as for a list.
            callback: The callback.
        """
        self._check_new(callback)
        changed = list(self.callbacks)
        changed.insert(index, callback)
        self._change(changed)

    def append(self, callback: BaseCallback) -> None:
        """Add a callback, behind those with its own or a higher priority.

        Args:
            callback: The callback.
        """
        self._check_new(callback)
        behind = [place for place, other in enumerate(self, 1) if priority_of(other) >= priority_of(callback)]
        self.insert(max(behind, default=0), callback)

    def remove(self, which: Which) -> None:
        """Take out a callback, or all of a class. During training they are ended.

        Args:
            which: The callback, or its class.

        Raises:
            ValueError: If there is none.
        """
        gone = self._found(which) or self._none(which)
        self._change([callback for callback in self if callback not in gone])

    def move_to_front(self, which: Which) -> None:
        """Let a callback be the first, whatever its priority.

        Args:
            which: The callback, or its class if there is one of it.
        """
        self.move_to_position(which, 0)

    def move_to_back(self, which: Which) -> None:
        """Let a callback be the last, whatever its priority.

        Args:
            which: The callback, or its class if there is one of it.
        """
        self.move_to_position(which, -1)

    def move_to_position(self, which: Which, position: int) -> None:
        """Put a callback somewhere else, whatever its priority.

        Args:
            which: The callback, or its class if there is one of it.
            position: Its new index; negative ones count from the end.

        Raises:
            IndexError: If there is no such index.
            ValueError: If there is no such callback, or more than one of the class.
        """
        found = self._found(which) or self._none(which)
        if len(found) > 1:
            raise ValueError(f"there are {len(found)} callbacks of {class_name(which)}: pass the one to be moved")
        if not -len(self) <= position < len(self):
            raise IndexError(f"position must be from {-len(self)} to {len(self) - 1}, got {position}")
        changed = [callback for callback in self if callback is not found[0]]
        changed.insert(position % len(self), found[0])
        self._change(changed)

    def reverse(self) -> None:
        """Turn the order round."""
        self._change(self.callbacks[::-1])

    def __repr__(self) -> str:
        """The callbacks by their classes."""
        names = ", ".join(type(callback).__name__ for callback in self)
        return f"CallbackCollection([{names}])"

    def _found(self, which: object) -> list[BaseCallback]:
        if isinstance(which, type):
            return [callback for callback in self.callbacks if isinstance(callback, which)]
        return [callback for callback in self.callbacks if callback is which]

    def _none(self, which: object) -> list[BaseCallback]:
        raise ValueError(f"there is no {class_name(which)} in {self!r}")

    def _check_new(self, callback: BaseCallback) -> None:
        self._check(callback)
        if self._found(callback):
            raise ValueError(f"this {class_name(callback)} is already in the collection: make another one")

    def _check(self, callback: object) -> None:
        if not isinstance(callback, BaseCallback):
            made = f": make one of it, {class_name(callback)}(...)" if isinstance(callback, type) else ""
            raise TypeError(f"a collection holds SB3 callbacks, got {callback!r}{made}")
        if self is callback or (isinstance(callback, CallbackList) and _holds(callback, self)):
            raise ValueError("a collection cannot hold itself, nor a list that holds it")
        priority_of(callback)


def _holds(outer: CallbackList, callback: BaseCallback) -> bool:
    """Whether a list holds a callback, at any depth."""
    return any(one is callback or (isinstance(one, CallbackList) and _holds(one, callback)) for one in outer.callbacks)


def priority_of(callback: BaseCallback) -> float:
    """The priority of any callback."""
    priority: object = getattr(callback, "priority", 0)
    if isinstance(priority, bool) or not isinstance(priority, int | float):
        raise TypeError(f"the priority of {class_name(callback)} must be a number, got {priority!r}")
    return priority
