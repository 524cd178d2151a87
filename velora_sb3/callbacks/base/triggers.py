"""Triggers by timesteps."""

from __future__ import annotations

from velora_sb3._validation import check_timesteps


class EveryTimesteps:
    """Fires when the number of timesteps reaches or crosses a multiple of a period.

    With several environments ``num_timesteps`` jumps, and may never be a multiple itself. The trigger depends on
    ``num_timesteps`` alone, so it has no state to save.
    """

    def __init__(self, period: int) -> None:
        self.period = check_timesteps("every_n_timesteps", period)
        self._before = 0

    def start(self, timestep: int) -> None:
        """Training starts or continues."""
        self._before = timestep

    def crossed(self, timestep: int) -> bool:
        """Whether a multiple was reached since the last call."""
        before, self._before = self._before, timestep
        return timestep // self.period > before // self.period
