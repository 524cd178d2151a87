"""Ctrl-C between two steps, not in the middle of one."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from velora_sb3.callbacks import SaveCheckpoints


class StopOnInterrupt(BaseCallback):
    """Turns the first Ctrl-C into a ``KeyboardInterrupt`` at the next step or rollout; a second one raises at once.

    So the files that other callbacks write are complete, and the weights are those after a finished update. SB3 stops
    when a callback returns False, but ARS ignores that.

    Use it as a context manager around ``learn``. Outside the main thread, where Python allows no signal handlers, it
    does nothing.

    Args:
        checkpoints: Saves the run when the next rollout starts, and training stops only then; called before this
            callback. None to stop at the next step.

    Attributes:
        requested: Whether Ctrl-C was pressed.
    """

    def __init__(self, checkpoints: SaveCheckpoints | None = None) -> None:
        super().__init__()
        self.checkpoints, self.requested, self._announced = checkpoints, False, False
        self._previous: Any = None

    def __enter__(self) -> StopOnInterrupt:
        """Install the signal handler."""
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Restore the previous signal handler."""
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        if self.checkpoints is not None:
            self.checkpoints.save_at_next_rollout()

    def _on_step(self) -> bool:
        if self.requested and self.checkpoints is None:
            raise KeyboardInterrupt
        if self.requested and not self._announced:
            self._announced = True
            print("stopping at the end of this rollout; press Ctrl-C again to stop at once", flush=True)
        return True

    def _on_rollout_start(self) -> None:
        if self.requested:
            raise KeyboardInterrupt
