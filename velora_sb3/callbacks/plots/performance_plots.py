"""Pictures of how training goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from velora_sb3.callbacks.base.naming import short_number
from velora_sb3.callbacks.plots.episode_plots import EpisodePlots
from velora_sb3.callbacks.plots.episode_values import Value


class PerformancePlots(EpisodePlots):
    """Draws returns with their moving average, lengths, and portfolio values into a directory of pictures.

    There is one every so many timesteps, ``<Env>_<timesteps>_steps.png``, and one at the end, ``<Env>_final.png``. A
    picture is there whole or not at all, and replaces an older one of its name. A picture that cannot be drawn is a
    warning. As a child of an event it draws each time it is called, and at the end.

    Values are drawn if the environments have any: the last entry of ``asset_memory``, as FinRL's environments keep it,
    or what ``value`` says. From environments in other processes ``asset_memory`` is sent at every step; there,
    ``value`` is quicker.

    Args:
        directory: Where the pictures go.
        every_n_timesteps: Timesteps between two pictures.
        window: Number of the latest episodes over which returns are averaged; None for a tenth of all, at most 100.
        value: A key of ``info``, or a function of ``info`` at an episode's last step, that gives the value; None for
            ``asset_memory``, where the environments have one.
        verbose: 0 for silence, 1 to print what it does.

    Attributes:
        pictures: The pictures of the running or latest ``learn()`` and those before, oldest first.

    Raises:
        ImportError: If matplotlib is missing.
        ValueError: If a number is below 1, or value is of the wrong type; in training, if ``info`` lacks the key.
        OSError: When training starts, if the directory cannot be made.
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
        self.pictures: list[Path] = []

    def config(self) -> tuple[str, dict[str, Any]]:
        """Name and settings."""
        name, settings = super().config()
        return name, {"directory": str(self.directory), **settings}

    def info(self) -> str:
        """What it draws, how often and where."""
        return f"PerformancePlots: draws every {self._every.period:,} timesteps and at the end into {self.directory}"

    def _on_start(self) -> None:
        super()._on_start()
        self._where = self.directory.absolute()  # should the program change its directory
        self._where.mkdir(parents=True, exist_ok=True)

    def _draw(self, *, final: bool) -> None:
        from velora_sb3.plotting.performance import plot_performance

        when = "final" if final else f"{short_number(self.num_timesteps)}_steps"
        path = self._where / f"{self._env_name}_{when}.png"
        plot_performance(path, self.frame(), self._title(), window=self.window)
        if path in self.pictures:
            self.pictures.remove(path)
        self.pictures.append(path)
        if self.verbose >= 1:
            print(f"PerformancePlots: drew {path}")
