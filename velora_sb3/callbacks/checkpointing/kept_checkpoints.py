"""Which of a run's checkpoints to keep."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from velora_sb3._validation import check_choice, check_integer
from velora_sb3.checkpoints.directories import remove_directory
from velora_sb3.checkpoints.retention import MODES


class KeptCheckpoints:
    """The checkpoints on disk that one callback has written. It never removes any other.

    Attributes:
        paths: Their directories, oldest first.
    """

    def __init__(self, keep_last: int | None, ranked: bool, mode: str, save_top_k: int, save_last: bool) -> None:
        if keep_last is not None:
            keep_last = check_integer("keep_last", keep_last)
        self.keep_last, self.ranked, self.mode = keep_last, ranked, check_choice("mode", mode, MODES)
        self.save_top_k, self.save_last = check_integer("save_top_k", save_top_k), save_last
        self.paths: list[Path] = []
        self._scores: dict[Path, float | None] = {}

    def add(self, path: Path, score: float | None) -> None:
        """Add a checkpoint that is complete, perhaps in place of one of the same name."""
        if path in self._scores:
            self.paths.remove(path)
        self.paths.append(path)
        self._scores[path] = score

    def others(self, spare: Path | None) -> list[Path]:
        """The checkpoints that are not to be kept."""
        return [path for path in self.paths if path not in {*self._to_keep(), spare}]

    def remove(self, path: Path) -> None:
        """Remove a checkpoint."""
        if path.exists():  # the user may have removed it
            remove_directory(path)
        self.paths.remove(path)
        del self._scores[path]

    def state(self, path: Path | None, score: float | None) -> list[list[Any]]:
        """Names and scores, as plain data."""
        scores = {one.name: self._scores[one] for one in self.paths if one != path}
        if path is not None:
            scores[path.name] = score
        return [[name, value] for name, value in scores.items()]

    def clear(self) -> None:
        """Forget those of another run; they stay on disk."""
        self.paths.clear()
        self._scores.clear()

    def load(self, state: list[list[Any]], directory: Path) -> None:
        """Restore a state."""
        self.clear()
        for name, score in state:
            if (directory / name).is_dir():
                self.add(directory / name, score)

    def _to_keep(self) -> list[Path]:
        newest = self.paths[::-1]
        if not self.ranked:
            return newest[: self.keep_last]
        best = sorted(newest, key=self._rank, reverse=True)[: self.save_top_k]  # the newer of two equals
        return [*best, *newest[: self.keep_last or int(self.save_last)]]

    def _rank(self, path: Path) -> float:
        score = self._scores[path]
        if score is None or math.isnan(score):
            return -math.inf
        return score if self.mode == "max" else -score
