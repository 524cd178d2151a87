"""The episodes of training as a CSV file."""

from __future__ import annotations

import time
from pathlib import Path

from velora_sb3.callbacks.base.callback import VeloraCallback
from velora_sb3.callbacks.base.episodes import Episode
from velora_sb3.cli.experiment.csv_rows import append_rows, start_rows

COLUMNS = ("timesteps", "env", "return", "length", "seconds")


class EpisodeLog(VeloraCallback):
    """Writes a row for every episode of training as soon as it ends.

    SB3's Monitor writes one file per environment, without the total timesteps that a learning curve is drawn over.

    A resumed run continues the same file; rows after its checkpoint are dropped, because it collects them again.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def _on_start(self) -> None:
        self._began = time.monotonic()
        start_rows(self.path, COLUMNS, self.num_timesteps)

    def _on_episode(self, episode: Episode) -> bool:
        seconds = round(time.monotonic() - self._began, 6)
        row = (episode.timestep, episode.env_index, round(episode.episode_return, 6), episode.length, seconds)
        append_rows(self.path, [row])
        return True
