"""Record every training episode in an SQLite file."""

from __future__ import annotations

import json
import math
import os
import sqlite3
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from velora_sb3._validation import check_integer
from velora_sb3.callbacks.base.callback import VeloraCallback
from velora_sb3.callbacks.base.description import describe_run
from velora_sb3.callbacks.base.episodes import Episode
from velora_sb3.callbacks.base.logged_values import LoggedValues
from velora_sb3.metrics.database import transact
from velora_sb3.metrics.run_writer import LAST_WAIT_S, RunWriter
from velora_sb3.metrics.runs import FINISHED, INTERRUPTED, STOPPED_EARLY, About, Run, open_run


class RecordMetrics(VeloraCallback):
    """Writes every training episode to an SQLite file that any number of runs and processes can share.

    Episodes are written in batches: when one ends 5 seconds or more after the last write, when 2,000 are pending, and
    when training ends. A killed process loses the pending ones, and its run keeps the status ``running``. If the
    file cannot be written during training, a warning says so and the write is retried.

    ``learn()`` from timestep 0 starts a new run. ``learn(..., reset_num_timesteps=False)`` continues the model's
    run, else the latest of this callback, that of a restored state, or the one with the given name; its episodes after
    the model's timestep are deleted.

    Args:
        path: The file, created with its directory if necessary.
        run: The run's name; None for ``<Algorithm>_<EnvName>_<number>``.
        window: Number of latest episodes in the moving average and deviation.
        verbose: 0 for no output, 1 to print what it does.

    Attributes:
        run_name: The run's name; None before training.
        run_id: The run's number in the file; None before training.

    Raises:
        ValueError: If run is empty, or window is not an integer of at least 1; when training starts, if the file was
            not written by ``RecordMetrics``, or already holds a run with this name.
        OSError: When training starts, if the file cannot be written.
    """

    _needs_every_step = True

    def __init__(
        self,
        path: str | os.PathLike[str] = "metrics.db",
        *,
        run: str | None = None,
        window: int = 100,
        verbose: int = 0,
    ) -> None:
        super().__init__(verbose)
        if run is not None and (not isinstance(run, str) or not run.strip()):
            raise ValueError(f"run must be a non-empty string, or None for a generated name, got {run!r}")
        self.path, self.run, self.window = Path(path), run, check_integer("window", window)
        self._file = self.path.absolute()  # the program may change its directory
        self._run: Run | None = None
        self._runs: WeakKeyDictionary[BaseAlgorithm, Run] = WeakKeyDictionary()  # where models take turns
        self._writer: RunWriter | None = None
        self._logged = LoggedValues()
        self._latest: deque[float] = deque(maxlen=self.window)

    @property
    def run_name(self) -> str | None:
        """The run's name."""
        return None if self._run is None else self._run.name

    @property
    def run_id(self) -> int | None:
        """The run's number in the file."""
        return None if self._run is None else self._run.id

    def config(self) -> tuple[str, dict[str, Any]]:
        """Name and settings."""
        return type(self).__name__, {"path": str(self.path), "run": self.run, "window": self.window}

    def info(self) -> str:
        """The file that it writes."""
        return f"RecordMetrics: writes every episode to {self.path}"

    def state_dict(self) -> dict[str, Any]:
        """Adds the run and the losses. Also writes pending episodes: a run resumed from here does not see them."""
        if self._writer is not None:
            self._writer.write()
        run = None if self._run is None else asdict(self._run)
        return {**super().state_dict(), "run": run, "losses": self._losses()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state."""
        super().load_state_dict(state)
        self._run = None if state["run"] is None else Run(**state["run"])
        self._runs.clear()
        self._logged.values = dict(state["losses"])

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the models."""
        return {**super().__getstate__(), "_runs": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copy, which knows no model."""
        vars(self).update(state, _runs=WeakKeyDictionary())

    def _on_start(self) -> None:
        path = self._file
        path.parent.mkdir(parents=True, exist_ok=True)
        self._total = int(self.locals["total_timesteps"])
        about = describe(self.model, self._total, self.siblings())
        work = open_run(self._runs.get(self.model, self._run), self.run, about, self.model.num_timesteps, self.window)
        try:
            run, past = transact(path, work, LAST_WAIT_S, create=True)
        except sqlite3.Error as error:
            raise OSError(f"RecordMetrics cannot write to {path}: {error}") from error
        # The last update may have come after the last episode, and the logger no longer has its losses.
        self._logged.values = {**past.losses, **(self._losses() if run == self._run else {})}
        self._run = self._runs[self.model] = run

        # A model loaded without this callback's state counts its episodes from 1.
        self._offset = max(past.episodes - self.episodes.finished, 0)
        self._start = time.monotonic() - past.seconds
        self._latest = deque(past.returns, maxlen=self.window)
        self._logged.follow(self.logger)
        self._writer = RunWriter(path, self._run.id)
        if self.verbose >= 1:
            print(f"RecordMetrics: run {self._run.name}, number {self._run.id} in {self.path}")

    def _on_episode(self, episode: Episode) -> bool:
        assert self._writer is not None
        self._latest.append(episode.episode_return)
        known = [value for value in self._latest if not math.isnan(value)] or [math.nan]
        with np.errstate(invalid="ignore"):  # infinite returns
            average, deviation = float(np.mean(known)), float(np.std(known))
        self._writer.add(
            (
                self._offset + episode.number,
                episode.episode_return,
                episode.length,
                average,
                deviation,
                episode.timestep,
                time.monotonic() - self._start,
                episode.env_index,
                json.dumps(self._losses()),
            )
        )
        return True

    def _on_end(self) -> None:
        if self._writer is None:  # there was an error at the start
            return
        self._logged.values = self._losses()  # also those that are not dumped
        self._logged.leave()
        if self.interrupted:
            status = INTERRUPTED
        else:
            status = FINISHED if self.model.num_timesteps >= self._total else STOPPED_EARLY
        self._writer.end(status)
        self._writer = None

    def _losses(self) -> dict[str, float]:
        """The latest number of each ``train/...`` key."""
        return {key: value for key, value in self._logged.latest().items() if key.startswith("train/")}


def describe(model: BaseAlgorithm, total_timesteps: int, callbacks: Iterable[BaseCallback]) -> About:
    """The description of a run that starts now."""
    run = describe_run(model, callbacks)
    versions = run.pop("versions")
    return About(
        algorithm=run["algorithm"]["name"],
        env=run["env"]["id"] or run["env"]["name"],
        env_name=run["env"]["name"],
        seed=run["seed"],
        total_timesteps=int(total_timesteps),
        config=json.dumps(run),
        versions=json.dumps(versions),
    )
