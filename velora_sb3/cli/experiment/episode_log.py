"""The episodes of training as a CSV file."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from velora_sb3.callbacks.base.callback import VeloraCallback
from velora_sb3.callbacks.base.episodes import Episode
from velora_sb3.cli.experiment.run_files import CsvFile

COLUMNS = ("timesteps", "env", "return", "length", "seconds")


class EpisodeLog(VeloraCallback):
    """Writes a row for every episode of training as soon as it ends.

    SB3's Monitor writes one file per environment, without the total timesteps that a learning curve is drawn over.

    A resumed run continues the same file, and its seconds; rows after its checkpoint are dropped, because it collects
    them again.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.file = CsvFile(path, COLUMNS)

    def _on_start(self) -> None:
        kept = self.file.start(self.num_timesteps)
        self._began = time.monotonic()
        with suppress(IndexError, ValueError):  # no row, or half of one
            self._began -= float(kept[-1][-1])

    def _on_episode(self, episode: Episode) -> bool:
        seconds = round(time.monotonic() - self._began, 6)
        self.file.append(
            (episode.timestep, episode.env_index, round(episode.episode_return, 6), episode.length, seconds)
        )
        return True
