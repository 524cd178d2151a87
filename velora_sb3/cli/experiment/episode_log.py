"""The episodes of training as a CSV file."""

from __future__ import annotations

from pathlib import Path

from stable_baselines3.common.callbacks import BaseCallback

from velora_sb3.cli.rows import append_rows, start_rows

COLUMNS = ("timesteps", "env", "return", "length", "seconds")


class EpisodeLog(BaseCallback):
    """Writes a row for every episode that ends while training, each at once.

    SB3's Monitor has the same but one file for each env and no count of timesteps over all of them, which is what
    a learning curve is drawn over. Its episode statistics are what is written here.

    A run that goes on goes on in the same file: rows of steps that it takes again are cut.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def _on_training_start(self) -> None:
        start_rows(self.path, COLUMNS, self.num_timesteps)

    def _on_step(self) -> bool:
        ended = [(index, info["episode"]) for index, info in enumerate(self._infos()) if "episode" in info]
        self._write([(index, episode["r"], episode["l"], episode["t"]) for index, episode in ended])
        return True

    def _infos(self) -> list[dict[str, dict[str, float]]]:
        infos: list[dict[str, dict[str, float]]] = self.locals.get("infos", [])
        return infos

    def _on_rollout_end(self) -> None:
        episodes = getattr(self.model, "ep_info_buffer", None)
        if "infos" not in self.locals and episodes:  # ARS: only known when all its candidates are through
            self._write([(0, episode["r"], episode["l"], "") for episode in episodes])

    def _write(self, rows: list[tuple[int, float, float, float | str]]) -> None:
        if rows:
            append_rows(self.path, [(self.num_timesteps, *row) for row in rows])
