"""An interruption between two steps, not in the middle of one."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from velora_sb3._signals import SignalHandlers, Stopped
from velora_sb3.callbacks import SaveCheckpoints


class StopOnInterrupt(BaseCallback):
    """Turns the first signal into a ``Stopped`` at the next step or rollout; a second one raises at once.

    So the files that other callbacks write are complete, and the weights are those after a finished update. SB3 stops
    when a callback returns False, but ARS ignores that.

    Use it as a context manager around ``learn``. Outside the main thread, where Python allows no signal handlers, it
    does nothing.

    Args:
        checkpoints: Saves the run when the next rollout starts, and training stops only then; called before this
            callback. None to stop at the next step.
        save: Called with the model at the next step if training goes on to the end of the rollout: a cluster may kill
            the process before.

    Attributes:
        signum: The signal, or None.
    """

    def __init__(
        self, checkpoints: SaveCheckpoints | None = None, save: Callable[[BaseAlgorithm], object] | None = None
    ) -> None:
        super().__init__()
        self.checkpoints, self.save = checkpoints, save
        self.signum: int | None = None
        self._announced = False
        self._handlers = SignalHandlers(self._on_signal)

    def __enter__(self) -> StopOnInterrupt:
        """Install the signal handlers."""
        self._handlers.install()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Restore the previous signal handlers."""
        self._handlers.uninstall()

    def _on_signal(self, signum: int) -> None:
        if self.signum is not None:
            raise Stopped(signum)
        self.signum = signum
        if self.checkpoints is not None:
            self.checkpoints.save_at_next_rollout()

    def check(self) -> None:
        """Raise, or announce the end and save the model; called after each step, those of evaluations too."""
        if self.signum is not None and self.checkpoints is None:
            raise Stopped(self.signum)
        if self.signum is not None and not self._announced:
            self._announced = True
            print("stopping at the end of this rollout; press Ctrl-C again to stop at once", flush=True)
            if self.save is not None:
                self.save(self.model)

    def _on_step(self) -> bool:
        self.check()
        return True

    def _on_rollout_start(self) -> None:
        if self.signum is not None:
            raise Stopped(self.signum)
