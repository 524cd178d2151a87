"""What a run goes on from after it was killed."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from velora_sb3.callbacks import VeloraCallback
from velora_sb3.callbacks.base.triggers import EveryTimesteps
from velora_sb3.checkpoints import atomic_directory, keep_last, write_checkpoint
from velora_sb3.cli.experiment.interrupt import StopOnInterrupt

PROGRESS = "progress"  # below the run directory
KEPT = 2


class SaveProgress(VeloraCallback):
    """Saves the whole run, its replay buffer too, every so many timesteps, on Ctrl-C and at the end.

    The newest two stay. A disk that is full does not end training.
    """

    def __init__(self, directory: Path, every_n_timesteps: int, stop: StopOnInterrupt) -> None:
        super().__init__()
        self.directory, self.every_n_timesteps = directory, every_n_timesteps
        self._stop, self._period = stop, EveryTimesteps(every_n_timesteps)
        self._failing = False

    def config(self) -> tuple[str, dict[str, Any]]:
        """Name and settings."""
        return type(self).__name__, {"every_n_timesteps": self.every_n_timesteps}

    def _on_start(self) -> None:
        self._period.start(self.num_timesteps)

    def _on_rollout_start(self) -> None:
        if self._period.crossed(self.num_timesteps) or self._stop.wanted:
            self._save()

    def _on_end(self) -> None:
        if not self.interrupted:
            self._save()

    def _save(self) -> None:
        path = self.directory / f"step_{self.num_timesteps}"
        try:
            with atomic_directory(path, lambda _: True) as place:
                write_checkpoint(self.model, place, callbacks=self.locals["callback"], quiet=True)
            keep_last(self.directory, KEPT)
            self._failing = False
        except Exception as error:  # hours of training are worth more
            if not self._failing:
                self._failing = True
                reason = f"{path} could not be saved ({type(error).__name__}: {error})"
                warnings.warn(f"{reason}; training goes on and later ones are tried", RuntimeWarning, stacklevel=2)
