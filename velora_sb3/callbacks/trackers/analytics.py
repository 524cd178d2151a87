"""What ``CometAnalytics`` and ``WandbAnalytics`` share."""

from __future__ import annotations

import math
import warnings
import weakref
from abc import abstractmethod
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.logger import Logger

from velora_sb3._optional import require
from velora_sb3.callbacks.base.callback import VeloraCallback
from velora_sb3.callbacks.base.description import as_json, describe_run
from velora_sb3.callbacks.base.episodes import Episode
from velora_sb3.callbacks.base.naming import env_name, short_number
from velora_sb3.tracking.tracker import Tracker, working_directory
from velora_sb3.tracking.writer import TrackingWriter

MOVING_WINDOW = 100
# What is sent, and the attribute of other callbacks that lists it: finished files or directories, the newest last.
FILES = {"video": "videos", "checkpoint": "saved"}


class Analytics(VeloraCallback):
    """Sends episodes, SB3's log, the configuration, videos and checkpoints to a tracker.

    In a list of callbacks it moves to the end. The tracker's package runs in another process; training waits for it
    only at its end, and with a time limit. What cannot be sent is written to disk, with one warning.

    Attributes:
        location: Where to find the run: a URL, or a path and the command that sends it; None before training has ended.
    """

    kind = ""  # the extra that brings the package, and the tracker's name in SB3's logger
    sign_in = ""  # how to provide an API key
    longest_name: int | None = None  # in characters; None without a limit
    longest_tag: int | None = None
    priority = -1000

    def __init__(
        self, name: str | None, tags: list[str] | None, run_key: str | None, checkpoints: bool, verbose: int
    ) -> None:
        super().__init__(verbose)
        require(self.kind, type(self).__name__)
        if isinstance(tags, str) or not all(isinstance(tag, str) for tag in tags or []):
            raise TypeError(f"tags must be a list of strings, got {tags!r}")
        self.name, self.tags, self.checkpoints = name, list(tags) if tags is not None else None, checkpoints
        self.location: str | None = None
        self._given_key = self._run_key = run_key
        self._returns: deque[float] = deque(maxlen=MOVING_WINDOW)
        self._tracker: Tracker | None = None
        self._mode = "offline"
        self._directory = working_directory()  # the program, or an environment, may change it before training starts
        self._print_location = verbose >= 1
        self._warned: set[str] = set()
        self._others: list[BaseCallback] = []
        self._keys: weakref.WeakKeyDictionary[BaseAlgorithm, str] = weakref.WeakKeyDictionary()  # models may take turns
        self._sent: weakref.WeakKeyDictionary[BaseCallback, dict[str, list[str | Path]]] = weakref.WeakKeyDictionary()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to a run in this process."""
        state = super().__getstate__()
        for name in ("_keys", "_sent", "_output", "_model_logger"):
            state.pop(name, None)
        return {**state, "_tracker": None, "_others": []}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copy, which has sent no files and knows no model."""
        vars(self).update(state, _keys=weakref.WeakKeyDictionary(), _sent=weakref.WeakKeyDictionary())

    def state_dict(self) -> dict[str, Any]:
        """Adds the run's key and the moving window."""
        return {**super().state_dict(), "run_key": self._run_key, "returns": list(self._returns)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state, in the same run unless the constructor was given another."""
        super().load_state_dict(state)
        self._run_key = self._given_key or state["run_key"]
        self._keys.clear()
        self._returns = deque(state["returns"], maxlen=MOVING_WINDOW)

    # What subclasses override.

    @abstractmethod
    def _new_key(self) -> str:
        """A key for a new run."""

    @abstractmethod
    def _has_api_key(self) -> bool:
        """Whether the package will find an API key; it is not imported to find out."""

    @abstractmethod
    def _run_settings(self, name: str | None, continues: bool) -> dict[str, Any]:
        """Arguments of the run's class, besides tags and configuration."""

    def _choose_mode(self, mode: str | None) -> None:
        """Record as asked; if nothing was asked, online with an API key and else, with a notice, offline."""
        self._mode = mode or ("online" if self._has_api_key() else "offline")
        if mode is None and self._mode == "offline":
            self._print_location = True
            print(f"{type(self).__name__}: no API key found, recording to disk; to record online, {self.sign_in}")

    # The base's hooks.

    def _on_start(self) -> None:
        if self.model.num_timesteps == 0:
            self._run_key = self._given_key
            self._returns.clear()
        elif (known := self._keys.get(self.model, self._run_key)) != self._run_key:
            self._run_key = known
            self._returns.clear()
        continues = self._run_key is not None
        self._run_key = self._keys[self.model] = self._run_key or self._new_key()
        self._others = [callback for callback in self.siblings() if callback is not self]
        self._warned.clear()
        self._move_to_end()

        algorithm, environment = type(self.model).__name__, env_name(self.training_env)
        total = self.model._total_timesteps
        name, tags = self.name, self.tags
        if not continues:
            name = name or f"{algorithm}_{environment}_{short_number(total)}"[: self.longest_name]
            tags = tags if tags is not None else [tag[: self.longest_tag] for tag in (algorithm, environment)]
        run = describe_run(self.model, [])
        policy = run["policy"]["class"].rpartition(".")[2]
        config = {**run, "algorithm": algorithm, "policy": policy, "callbacks": self._callbacks()}
        if self._mode != "disabled":
            settings = {**self._run_settings(name, continues), "tags": tags, "config": config}
            self._tracker = Tracker(self.kind, settings, online=self._mode == "online", directory=self._directory)
            self._output = TrackingWriter(self.kind, self._log)
            self._model_logger: Logger = self.logger
            self._model_logger.output_formats.append(self._output)

    def _on_every_step(self) -> bool:
        self._warn()
        return True

    def _on_episode(self, episode: Episode) -> bool:
        row: dict[str, float] = {"episode/return": episode.episode_return, "episode/length": episode.length}
        if not math.isnan(episode.episode_return):  # one NaN would hide the next returns as well
            self._returns.append(episode.episode_return)
        if self._returns:
            with np.errstate(invalid="ignore"):  # infinite returns
                average, deviation = float(np.mean(self._returns)), float(np.std(self._returns))
            row |= {
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
        if self._output in self._model_logger.output_formats:
            self._model_logger.output_formats.remove(self._output)
        tracker.close(success=not self.interrupted or self.parent is not None)
        self.location = tracker.location
        self._warn()
        if self.location is not None and (self._print_location or tracker.went_offline):
            print(f"{type(self).__name__}: {self.location}")

    def _move_to_end(self) -> None:
        """Run after the others: their last video, checkpoint and row come when training ends."""
        top = self.locals.get("callback")
        if isinstance(top, CallbackList) and self in top.callbacks:
            others = [callback for callback in top.callbacks if callback is not self]
            top.callbacks = [*others, self]  # a new list, as SB3 is iterating over the old one

    def _log(self, row: dict[str, Any], step: int, episode: int | None = None) -> None:
        if self._tracker is not None:
            self._tracker.call("log", row, step, episode)

    def _send_files(self) -> None:
        """Send the videos and checkpoints that other callbacks have finished since the last call."""
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
        sent = self._sent.setdefault(callback, {})
        before, sent[attribute] = sent.get(attribute, []), list(files)
        return [file for file in files if not any(file is old for old in before)]  # a new file may have an old name

    def _warn(self) -> None:
        """Warn once of each problem."""
        while self._tracker is not None and self._tracker.problems:
            problem = self._tracker.problems.popleft()
            if problem not in self._warned:
                self._warned.add(problem)
                warnings.warn(f"{type(self).__name__}: {problem}", RuntimeWarning, stacklevel=2)

    def _callbacks(self) -> dict[str, Any]:
        """The settings of every callback by its name; repeated names are numbered."""
        found: dict[str, Any] = {}
        for callback in self.siblings():
            name, settings = type(callback).__name__, dict[str, Any]()
            if isinstance(callback, VeloraCallback):
                name, settings = callback.config()
            number = sum(1 for other in found if other.partition(" ")[0] == name) + 1
            found[name if number == 1 else f"{name} {number}"] = as_json(settings)
        return found


def expand_user(path: str) -> Path:
    """``Path.expanduser``, which raises where there is no home directory, as in some containers."""
    with suppress(RuntimeError):
        return Path(path).expanduser()
    return Path(path)
