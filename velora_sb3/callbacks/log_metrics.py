"""Dump SB3's logger at chosen intervals."""

from __future__ import annotations

from typing import Any

from velora_sb3._validation import check_integer
from velora_sb3.callbacks.base.callback import VeloraCallback
from velora_sb3.callbacks.base.episodes import Episode
from velora_sb3.callbacks.base.triggers import EveryTimesteps


class LogMetrics(VeloraCallback):
    """Dumps SB3's logger every ``every_n_timesteps`` or ``every_n_episodes``.

    SB3 itself also dumps it every ``log_interval`` rollouts, or episodes for off-policy algorithms; pass
    ``learn(log_interval=None)`` to turn that off.

    Args:
        every_n_timesteps: Dump at each multiple, over all environments.
        every_n_episodes: Dump at each multiple.
        verbose: 0 for no output, 1 to print what it does.

    Raises:
        ValueError: If neither is given, or one is not an integer of at least 1.
    """

    def __init__(
        self, every_n_timesteps: int | None = None, every_n_episodes: int | None = None, *, verbose: int = 0
    ) -> None:
        super().__init__(verbose)
        if every_n_timesteps is None and every_n_episodes is None:
            raise ValueError("pass every_n_timesteps, every_n_episodes or both")
        self._trigger = None if every_n_timesteps is None else EveryTimesteps(every_n_timesteps)
        self.every_n_episodes = (
            None if every_n_episodes is None else check_integer("every_n_episodes", every_n_episodes)
        )
        self._is_due = False

    def config(self) -> tuple[str, dict[str, Any]]:
        """Name and settings."""
        period = None if self._trigger is None else self._trigger.period
        return type(self).__name__, {"every_n_timesteps": period, "every_n_episodes": self.every_n_episodes}

    def _on_episode(self, episode: Episode) -> bool:
        if self.every_n_episodes is not None and episode.number % self.every_n_episodes == 0:
            self._is_due = True
        return True

    def _on_every_step(self) -> bool:
        crossed = self._trigger is not None and self._trigger.crossed(self.model.num_timesteps)
        if crossed or self._is_due:
            self._is_due = False
            self.model.dump_logs()
        return True
