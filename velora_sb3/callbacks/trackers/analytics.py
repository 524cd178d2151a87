"""What the trackers' callbacks have in common."""

from __future__ import annotations

import warnings
import weakref
from abc import abstractmethod
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.logger import Logger

from velora_sb3._optional import install_line, missing_modules
from velora_sb3.callbacks.base.callback import VeloraCallback
from velora_sb3.callbacks.base.description import as_json, describe_run
from velora_sb3.callbacks.base.episodes import Episode
from velora_sb3.callbacks.base.naming import env_name, short_number
from velora_sb3.tracking.tracker import Tracker
from velora_sb3.tracking.writer import TrackingWriter

MOVING_WINDOW = 100
# What is sent, and the attribute of another callback that lists it: finished files or directories, new ones appended.
FILES = {"video": "videos", "checkpoint": "saved"}


class Analytics(VeloraCallback):
    """Sends episodes, SB3's log, the configuration, videos and checkpoints to a tracker.

    A subclass says which: :meth:`_open` starts the run. In a list of callbacks it moves to the end.

    Every call into the tracker's package is made in another process. Training waits for it at its end only, and then
    not for ever. What cannot be sent is written to disk, with one warning.

    Attributes:
        whereabouts: Where the run is to be found, in words; None before it has started.
    """

    kind = ""
    priority = -1000

    def __init__(
        self, name: str | None, tags: list[str] | None, run_key: str | None, checkpoints: bool, verbose: int
    ) -> None:
        super().__init__(verbose)
        if missing := missing_modules(self.kind):
            raise ImportError(f"{type(self).__name__} needs {', '.join(missing)}: {install_line(self.kind)}")
        if isinstance(tags, str) or not all(isinstance(tag, str) for tag in tags or []):
            raise TypeError(f"tags must be a list of strings, got {tags!r}")
        self.name, self.tags, self.checkpoints = name, list(tags) if tags is not None else None, checkpoints
        self.whereabouts: str | None = None
        self._given_key = self._run_key = run_key
        self._returns: deque[float] = deque(maxlen=MOVING_WINDOW)
        self._tracker: Tracker | None = None
        self._tell = verbose >= 1
        self._told: set[str] = set()
        self._others: list[BaseCallback] = []
        self._seen: weakref.WeakKeyDictionary[BaseCallback, dict[str, list[str | Path]]] = weakref.WeakKeyDictionary()

    def state_dict(self) -> dict[str, Any]:
        """Adds the run's key and the moving window."""
        return {**super().state_dict(), "run_key": self._run_key, "returns": list(self._returns)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state, in the same run unless the constructor was given another."""
        super().load_state_dict(state)
        self._run_key = self._given_key or state["run_key"]
        self._returns = deque(state["returns"], maxlen=MOVING_WINDOW)

    # What subclasses override.

    @abstractmethod
    def _new_key(self) -> str:
        """A key for a new run."""

    @abstractmethod
    def _open(
        self, name: str | None, tags: list[str] | None, config: dict[str, Any], continues: bool
    ) -> Tracker | None:
        """Start the run, which may exist if it continues; None to record nothing."""

    # The base's hooks.

    def _on_start(self) -> None:
        if self.model.num_timesteps == 0:
            self._run_key = self._given_key
            self._returns.clear()
        continues = self._run_key is not None
        self._run_key = self._run_key or self._new_key()
        self._others = [callback for callback in self.siblings() if callback is not self]
        self._told.clear()
        self._go_last()

        algorithm, environment = type(self.model).__name__, env_name(self.training_env)
        total = self.model._total_timesteps
        name, tags = self.name, self.tags
        if not continues:
            name = name or f"{algorithm}_{environment}_{short_number(total)}"
            tags = tags if tags is not None else [algorithm, environment]
        run = describe_run(self.model, [])
        policy = run["policy"]["class"].rpartition(".")[2]
        config = {**run, "algorithm": algorithm, "policy": policy, "callbacks": self._callbacks()}
        self._tracker = self._open(name, tags, config, continues)
        if self._tracker is not None:
            self._output = TrackingWriter(self.kind, self._log)
            self._log_of_model: Logger = self.logger
            self._log_of_model.output_formats.append(self._output)

    def _on_every_step(self) -> bool:
        self._warn()
        return True

    def _on_episode(self, episode: Episode) -> bool:
        self._returns.append(episode.episode_return)
        average, deviation = float(np.mean(self._returns)), float(np.std(self._returns))
        row = {
            "episode/return": episode.episode_return,
            "episode/length": episode.length,
            "reward/moving_avg": average,
            "reward/moving_upper": average + deviation,
            "reward/moving_lower": average - deviation,
        }
        self._log(row, episode.timestep, episode.number)
        return True

    def _on_rollout_start(self) -> None:
        self._send_files()

    def _on_end(self) -> None:
        if self._tracker is not None:
            try:
                self._close(self._tracker)
            finally:
                self._tracker = None

    def _close(self, tracker: Tracker) -> None:
        self._send_files()
        if self._output in self._log_of_model.output_formats:
            self._log_of_model.output_formats.remove(self._output)
        tracker.close()
        self.whereabouts = tracker.whereabouts
        self._warn()
        if self.whereabouts is not None and (self._tell or tracker.went_offline):
            print(f"{type(self).__name__}: {self.whereabouts}")

    def _note_missing_key(self, remedy: str) -> None:
        self._tell = True
        print(f"{type(self).__name__}: no API key, so it records on disk; to send it, {remedy}")

    def _go_last(self) -> None:
        """Be called after the others: the last video, checkpoint and row come when training ends."""
        everyone = self.locals.get("callback")
        if isinstance(everyone, CallbackList) and self in everyone.callbacks:
            others = [callback for callback in everyone.callbacks if callback is not self]
            everyone.callbacks = [*others, self]  # a new list: SB3 is walking along the old one

    def _log(self, row: dict[str, Any], step: int, episode: int | None = None) -> None:
        if self._tracker is not None:
            self._tracker.call("log", row, step, episode)

    def _send_files(self) -> None:
        """Send the videos and checkpoints that other callbacks have finished since the last time."""
        if self._tracker is None:
            return
        for callback in self._others:
            for kind, attribute in FILES.items():
                if kind != "checkpoint" or self.checkpoints:
                    for path in self._new_files(callback, attribute):
                        self._tracker.call(kind, str(Path(path).absolute()), self.model.num_timesteps)

    def _new_files(self, callback: BaseCallback, attribute: str) -> list[str | Path]:
        files = getattr(callback, attribute, None)
        if not isinstance(files, list):
            return []
        seen = self._seen.setdefault(callback, {})
        before, seen[attribute] = seen.get(attribute, []), list(files)
        return [file for file in files if not any(file is one for one in before)]  # of the same name may be a new one

    def _warn(self) -> None:
        """Say once what has gone wrong."""
        while self._tracker is not None and self._tracker.problems:
            problem = self._tracker.problems.popleft()
            if problem not in self._told:
                self._told.add(problem)
                warnings.warn(f"{type(self).__name__}: {problem}", RuntimeWarning, stacklevel=2)

    def _callbacks(self) -> dict[str, Any]:
        """The settings of every callback by its name; those of the same name are numbered."""
        found: dict[str, Any] = {}
        for callback in self.siblings():
            name, settings = _described(callback)
            number = sum(1 for other in found if other.partition(" ")[0] == name) + 1
            found[name if number == 1 else f"{name} {number}"] = settings
        return found


def _described(callback: BaseCallback) -> tuple[str, Any]:
    if isinstance(callback, VeloraCallback):
        name, settings = callback.config()
        return name, as_json(settings)
    return type(callback).__name__, {}
