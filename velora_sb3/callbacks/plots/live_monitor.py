"""A plot in a notebook that updates during training."""

from __future__ import annotations

import io
import sys
from typing import Any

from velora_sb3.callbacks.plots.episode_plots import EpisodePlots
from velora_sb3.callbacks.plots.episode_values import Value


class LiveMonitor(EpisodePlots):
    """Shows the plot of ``PerformancePlots`` below a notebook cell, and updates it during training.

    Other output of the cell is kept. Outside a notebook it prints one notice and does nothing.

    Args:
        every_n_timesteps: Timesteps between updates; each update takes a few tenths of a second.
        window: Window of the moving average, in episodes; None for a tenth of all episodes, at most 100.
        value: A key of ``info``, or a function of ``info``, that gives the value at the last step of an episode; None
            for the environments' ``asset_memory``, if they have one.
        verbose: 0 for no output, 1 to print the settings.

    Attributes:
        refreshed: Number of updates so far.

    Raises:
        ImportError: If matplotlib is missing.
        ValueError: If an argument is out of range; in training, if ``info`` lacks the key.
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
        self._notified = False

    def _on_start(self) -> None:
        super()._on_start()
        self._display = None  # a new plot below the current cell
        if not in_notebook() and not self._notified:
            self._notified = True
            print(
                "LiveMonitor: not in a notebook, so nothing will be shown; use PerformancePlots to write plots to files"
            )

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
    ipython = sys.modules.get("IPython")  # None unless IPython runs this program
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and getattr(shell, "kernel", None) is not None
