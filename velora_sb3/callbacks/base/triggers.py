"""When a number of timesteps has passed."""

from __future__ import annotations

from velora_sb3._validation import check_integer


class EveryTimesteps:
    """Fires when the number of timesteps reaches or crosses a multiple of a period.

    With several environments the number jumps, so its remainder would often never be 0. Where training stands says
    all: there is nothing to store for a later run.
    """

    def __init__(self, period: int) -> None:
        self.period = check_integer("every_n_timesteps", period)
        self._before = 0

    def start(self, timestep: int) -> None:
        """Training starts, or goes on."""
        self._before = timestep

    def crossed(self, timestep: int) -> bool:
        """Whether a multiple lies between the last call and now."""
        before, self._before = self._before, timestep
        return timestep // self.period > before // self.period
