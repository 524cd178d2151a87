"""Plots of training, written to files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from velora_sb3.callbacks.base.naming import short_number
from velora_sb3.callbacks.plots.episode_plots import EpisodePlots
from velora_sb3.callbacks.plots.episode_values import Value


class PerformancePlots(EpisodePlots):
    """Plots returns with their moving average, episode lengths, and portfolio values, into PNG files.

    It writes one plot per period, ``<Env>_<timesteps>_steps.png``, and a final one, ``<Env>_final.png``. Files are
    complete or absent, and replace those of the same name. A plot that fails is a warning. As the child of an event it
    draws at each event, and at the end.

    Values are plotted if there are any: the last entry of ``asset_memory``, which FinRL's environments have, or
    ``value``. Environments in other processes send ``asset_memory`` at every step, so ``value`` is faster there.

    Args:
        directory: Directory of the plots; it is created.
        every_n_timesteps: Timesteps between plots.
        window: Window of the moving average, in episodes; None for a tenth of all episodes, at most 100.
        value: A key of ``info``, or a function of ``info``, that gives the value at the last step of an episode; None
            for ``asset_memory``, if the environments have one.
        verbose: 0 for no output, 1 to print each file.

    Attributes:
        pictures: The files that were written, oldest first.

    Raises:
        ImportError: If matplotlib is missing.
        ValueError: If an argument is out of range; in training, if ``info`` lacks the key.
        OSError: When training starts, if the directory cannot be created.
    """

    def __init__(
        self,
        directory: str | Path = "plots",
        *,
        every_n_timesteps: int = 10_000,
        window: int | None = None,
        value: Value = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(every_n_timesteps, window, value, verbose)
        self.directory = Path(directory)
        self._absolute = self.directory.absolute()  # the program may change its directory
        self.pictures: list[Path] = []

    def config(self) -> tuple[str, dict[str, Any]]:
        """Name and settings."""
        name, settings = super().config()
        return name, {"directory": str(self.directory), **settings}

    def info(self) -> str:
        """How often it plots, and where."""
        return f"PerformancePlots: plots every {self._trigger.period:,} timesteps and at the end to {self.directory}"

    def _on_start(self) -> None:
        super()._on_start()
        self._absolute.mkdir(parents=True, exist_ok=True)

    def _draw(self, *, final: bool) -> None:
        from velora_sb3.plotting.performance import plot_performance

        when = "final" if final else f"{short_number(self.num_timesteps)}_steps"
        path = self._absolute / f"{self._env_name}_{when}.png"
        plot_performance(path, self.frame(), self._title(), window=self.window)
        if path in self.pictures:
            self.pictures.remove(path)
        self.pictures.append(path)
        if self.verbose >= 1:
            print(f"PerformancePlots: wrote {path}")
