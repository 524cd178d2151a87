"""Triggers by timesteps."""

from __future__ import annotations

from velora_sb3._validation import check_timesteps


class EveryTimesteps:
    """Fires when the number of timesteps reaches or crosses a multiple of a period.

    With several environments ``num_timesteps`` jumps, and may never be a multiple itself.

    Attributes:
        timestep: ``num_timesteps`` at the last call, the state to save; None before the start.
    """

    def __init__(self, period: int) -> None:
        self.period = check_timesteps("every_n_timesteps", period)
        self.timestep: int | None = None

    def crossed(self, timestep: int) -> bool:
        """Whether a multiple was reached since the last call."""
        before, self.timestep = self.timestep or 0, timestep
        return timestep // self.period > before // self.period
