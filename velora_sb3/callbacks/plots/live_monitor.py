"""A picture in a notebook that follows training."""

from __future__ import annotations

import io
import sys
from typing import Any

from velora_sb3.callbacks.plots.episode_plots import EpisodePlots
from velora_sb3.callbacks.plots.episode_values import Value


class LiveMonitor(EpisodePlots):
    """One picture below a notebook's cell that is drawn anew while training goes on.

    It shows what ``PerformancePlots`` draws. The rest of the cell's output stays as it is. Outside of a notebook it
    says once that there is nothing to refresh, and does nothing more.

    Args:
        every_n_timesteps: Timesteps between two pictures; each takes a few tenths of a second.
        window: Number of the latest episodes over which returns are averaged; None for a tenth of all, at most 100.
        value: A key of ``info``, or a function of ``info`` at an episode's last step, that gives the value of a
            portfolio; None for the environments' ``asset_memory``, where they have one.
        verbose: 0 for silence, 1 to print what it does.

    Attributes:
        refreshed: How often it has drawn.

    Raises:
        ImportError: If matplotlib is missing.
        ValueError: If a number is below 1, or value is of the wrong type; in training, if ``info`` lacks the key.
    """

    def __init__(
        self,
        every_n_timesteps: int = 5_000,
        *,
        window: int | None = None,
        value: Value = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(every_n_timesteps, window, value, verbose)
        self.refreshed = 0
        self._display: Any = None
        self._said = False

    def _on_start(self) -> None:
        super()._on_start()
        self._display = None  # below the cell that runs now
        if not in_notebook() and not self._said:
            self._said = True
            print("LiveMonitor: this is no notebook, there is nothing to refresh; PerformancePlots draws into files")

    def _draw(self, *, final: bool) -> None:
        if not in_notebook():
            return
        from IPython.display import Image, display

        from velora_sb3.plotting.performance import plot_performance

        file = io.BytesIO()
        plot_performance(file, self.frame(), self._title(), window=self.window)
        image = Image(data=file.getvalue())
        if self._display is None:
            self._display = display(image, display_id=True)
        else:
            self._display.update(image)
        self.refreshed += 1


def in_notebook() -> bool:
    """Whether this program runs in a notebook's kernel."""
    ipython = sys.modules.get("IPython")  # what has not been imported does not run us
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and getattr(shell, "kernel", None) is not None
