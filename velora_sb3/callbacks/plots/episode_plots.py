"""What ``PerformancePlots`` and ``LiveMonitor`` share."""

from __future__ import annotations

import math
import warnings
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from velora_sb3._optional import require
from velora_sb3._signals import unmasked_signals
from velora_sb3._validation import check_integer
from velora_sb3.callbacks.base.callback import VeloraCallback
from velora_sb3.callbacks.base.episodes import Episode
from velora_sb3.callbacks.base.naming import env_name
from velora_sb3.callbacks.base.triggers import EveryTimesteps
from velora_sb3.callbacks.plots.episode_values import EpisodeValues, Value

if TYPE_CHECKING:
    import pandas as pd

MAX_STORED = 10_000  # episodes in a state; a plot shows no more
COLUMNS = ("timesteps", "return", "length", "value")


class EpisodePlots(VeloraCallback):
    """Collects the episodes of training, and plots them once per period and at the end.

    Subclasses override ``_draw``; its errors become warnings. As the child of an event it draws at each event.
    """

    def __init__(self, every_n_timesteps: int, window: int | None, value: Value, verbose: int) -> None:
        super().__init__(verbose)
        self._trigger: EveryTimesteps = EveryTimesteps(every_n_timesteps)
        self.window = None if window is None else check_integer("window", window)
        self.value = value
        self._values = EpisodeValues(value)
        require("plot", type(self).__name__)
        self._rows: list[tuple[float, ...]] = []  # COLUMNS of each episode
        self._failing = False

    def config(self) -> tuple[str, dict[str, Any]]:
        """Name and settings."""
        value = repr(self.value) if callable(self.value) else self.value
        settings = {"every_n_timesteps": self._trigger.period, "window": self.window, "value": value}
        return type(self).__name__, settings

    def state_dict(self) -> dict[str, Any]:
        """Adds the episodes so far; beyond ten thousand only every second, third and so on."""
        stored = self._rows[:: -(-len(self._rows) // MAX_STORED) or 1]
        rows = [[number if math.isfinite(number) else None for number in row] for row in stored]
        ended = [[*at, value] for at, value in self._values.ended.items() if math.isfinite(value)]
        return {**super().state_dict(), "rows": rows, "ended": ended}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        super().load_state_dict(state)
        self._rows = [tuple(math.nan if number is None else number for number in row) for row in state["rows"]]
        self._values.ended = {(timestep, index): value for timestep, index, value in state.get("ended", ())}

    def frame(self) -> pd.DataFrame:
        """One row per episode so far: ``timesteps``, ``return``, ``length``, ``value``."""
        import pandas as pd

        return pd.DataFrame(self._rows, columns=list(COLUMNS), dtype=float)

    @abstractmethod
    def _draw(self, *, final: bool) -> None:
        """Plot the episodes; ``final`` at the end of training."""

    def _title(self) -> str:
        return f"{type(self.model).__name__} on {self._env_name}, {self.num_timesteps:,} timesteps"

    def _on_start(self) -> None:
        if self.is_new_run:
            self._rows, self._values.ended = [], {}
        self._env_name = env_name(self.training_env)
        self._values.start(self.training_env)

    def _listen(self) -> None:
        before = self._last_counted
        super()._listen()
        if before is not None and before != self._last_counted:
            self._values.step(self.model.num_timesteps, self.locals, self.episodes.ended)

    def _on_episode(self, episode: Episode) -> bool:
        value = self._values.pop(episode.timestep, episode.env_index)
        self._rows.append((episode.timestep, episode.episode_return, episode.length, value))
        return True

    def _on_every_step(self) -> bool:
        if self._trigger.crossed(self.num_timesteps) or self.parent is not None:
            self._try_to_draw(final=False)
        return True

    def _on_end(self) -> None:
        self._failing = False  # the last plot gets its own warning
        self._try_to_draw(final=True)

    def _try_to_draw(self, *, final: bool) -> None:
        try:
            with unmasked_signals():
                self._draw(final=final)
            self._failing = False
        except Exception as error:  # hours of training are worth more than a plot
            if not self._failing:
                self._failing = True
                reason = f"{type(error).__name__}: {error}"
                text = f"{type(self).__name__} could not draw a plot and will try again later: {reason}"
                warnings.warn(text, RuntimeWarning, stacklevel=2)
