"""Ctrl-C between two steps, not in the middle of one."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback


class StopOnInterrupt(BaseCallback):
    """Turns the first Ctrl-C into a ``KeyboardInterrupt`` at the next step or rollout, a second one into one at once.

    So the files that other callbacks write are whole and the weights are those after a finished update. Returning
    False would be SB3's way to stop, but ARS does not listen to it.

    Use as a context manager around ``learn``. Outside the main thread, where Python allows no signal handlers,
    nothing changes.

    Attributes:
        wanted: Whether there was a Ctrl-C.
    """

    def __init__(self, at_rollout: bool = False) -> None:
        super().__init__()
        self.at_rollout, self.wanted, self._told = at_rollout, False, False
        self._previous: Any = None

    def __enter__(self) -> StopOnInterrupt:
        """Take Ctrl-C over."""
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give Ctrl-C back."""
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        if self.wanted:
            raise KeyboardInterrupt
        self.wanted = True

    def _on_step(self) -> bool:
        if self.wanted and not self.at_rollout:
            raise KeyboardInterrupt
        if self.wanted and not self._told:
            self._told = True
            print("stopping when this rollout is learned from; Ctrl-C again stops at once", flush=True)
        return True

    def _on_rollout_start(self) -> None:
        if self.wanted:
            raise KeyboardInterrupt
