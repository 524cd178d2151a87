"""Checkpoints with names, in a directory for each."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from stable_baselines3.common.callbacks import EvalCallback

from velora_sb3._atomic import write_json
from velora_sb3.callbacks.base.callback import VeloraCallback
from velora_sb3.callbacks.base.description import as_json, describe_run, versions
from velora_sb3.callbacks.base.episodes import Episode
from velora_sb3.callbacks.base.naming import env_name, short_number
from velora_sb3.callbacks.checkpointing.checkpoint_files import write_sb3_files, write_whole_run
from velora_sb3.callbacks.checkpointing.kept_checkpoints import KeptCheckpoints
from velora_sb3.callbacks.checkpointing.run_record import RunRecord
from velora_sb3.checkpoints import atomic_directory

CONFIG_FILE = "model_config.json"
COMPLETED_FILE = "completed.json"
EPISODE_RETURN = "episode return"


class SaveCheckpoints(VeloraCallback):
    """Saves the run every so many episodes and at the end, with all that tells what it is.

    ::

        <root>/<dirname>/model_config.json                algorithm, environment, hyperparameters, callbacks, versions
        <root>/<dirname>/saves/<Env>_100/model.zip        as SB3 saves it
        <root>/<dirname>/saves/<Env>_100/metadata.json    episodes, timesteps, seconds, returns, versions
        <root>/<dirname>/saves/<Env>_100/manifest.json    and the files it lists: what ``resume_training`` goes on from
        <root>/<dirname>/saves/<Env>_100/vecnormalize.pkl if VecNormalize is used
        <root>/<dirname>/saves/<Env>_100/replay_buffer.pkl if ``buffer``
        <root>/<dirname>/saves/<Env>_final/
        <root>/<dirname>/completed.json                   how the run went

    A checkpoint that is due is written when the next rollout starts: then the last step is stored and trained on. Of
    several that become due within one rollout only the last is written, since the weights are the same.

    As a child of ``EvalCallback`` or ``EveryNTimesteps`` it saves whenever it is called, at once, under the number of
    timesteps (``<Env>_20K_steps``), and no ``<Env>_final``. ``frequency`` has no meaning there. A run that goes on
    from such a checkpoint starts new episodes, as the step under way is not stored.

    A checkpoint is written beside its place and renamed, so it is whole whenever the program dies. What cannot be
    written when training starts raises. A later checkpoint that fails warns, training goes on, and the next one is
    tried again. Where something is not plain data, a warning names it and checkpoints hold SB3's files alone.

    Args:
        dirname: Name of the directory for this run, below ``root``.
        frequency: Episodes between checkpoints.
        buffer: Whether each checkpoint gets the replay buffer too, twice: for SB3, as large as it is in memory, and
            for ``resume_training``, which goes on with an empty one without it.
        keep_last: How many of the newest stay. The others are removed, each once a new one stands, and of those that
            this callback has written alone. None keeps all, unless there is a ``monitor``.
        monitor: What to keep the best by: a key of SB3's logger, such as ``"eval/mean_reward"`` or
            ``"rollout/ep_rew_mean"``, or ``"episode return"`` for the mean of the last ten episodes. The latest value
            counts; a checkpoint from before the first is worse than all others.
        mode: ``"max"`` if more is better, ``"min"`` if less is.
        save_top_k: How many of the best stay, if there is a ``monitor``.
        save_last: Whether the newest stays beside them. The final one always does.
        timestamp: Whether names end with the time, in UTC, as ``<Env>_100_20260131T235959Z``.
        custom_objects: Names of the model's arguments that are not plain data, such as a schedule of your own: they
            are left out, and passed again to ``resume_training``.
        force: Go on writing in a directory that holds something. A checkpoint of the same name is replaced, nothing
            that another callback has written is removed.
        root: The directory of all runs.
        verbose: 0 for silence, 1 to print what it does.

    Attributes:
        directory: ``<root>/<dirname>``.
        saves: ``<root>/<dirname>/saves``.
        saved: The checkpoints that stand, oldest first; new ones are appended.

    Raises:
        FileExistsError: If the directory holds something and ``force`` is not set; when it is constructed, and when a
            second run from timestep 0 starts.
        ValueError: If ``dirname`` leads out of ``root`` or another argument is out of range; when training starts, if
            ``buffer`` is asked of an algorithm that has none.
    """

    def __init__(
        self,
        dirname: str,
        *,
        frequency: int = 100,
        buffer: bool = False,
        keep_last: int | None = None,
        monitor: str | None = None,
        mode: Literal["max", "min"] = "max",
        save_top_k: int = 1,
        save_last: bool = True,
        timestamp: bool = False,
        custom_objects: Iterable[str] = (),
        force: bool = False,
        root: str | Path = "checkpoints",
        verbose: int = 0,
    ) -> None:
        super().__init__(verbose)
        parts = Path(dirname).parts if isinstance(dirname, str) else ()
        if not parts or Path(dirname).is_absolute() or ".." in parts:
            raise ValueError(f"dirname must name a directory below root={str(root)!r}, got {dirname!r}")
        if isinstance(frequency, bool) or not isinstance(frequency, int) or frequency < 1:
            raise ValueError(f"frequency must be a whole number of episodes, at least 1, got {frequency!r}")
        self.dirname, self.frequency, self.buffer, self.force, self.root = dirname, frequency, buffer, force, str(root)
        self.monitor, self.timestamp = monitor, timestamp
        self.custom_objects = [custom_objects] if isinstance(custom_objects, str) else list(custom_objects)
        self.directory = Path(root, dirname).absolute()
        self.saves = self.directory / "saves"
        self._kept = KeptCheckpoints(keep_last, monitor is not None, mode, save_top_k, save_last)
        self._refuse_to_overwrite(self.directory)
        self._due: int | None = None
        self._failing = False
        self._told: set[str] = set()
        self._being_written: tuple[Path | None, float | None] = (None, None)
        self._record = RunRecord()

    @property
    def saved(self) -> list[Path]:
        """The checkpoints that stand, oldest first."""
        return self._kept.paths

    def config(self) -> tuple[str, dict[str, Any]]:
        """Name and settings."""
        return type(self).__name__, {
            "dirname": self.dirname,
            "frequency": self.frequency,
            "buffer": self.buffer,
            "keep_last": self._kept.keep_last,
            "monitor": self.monitor,
            "mode": self._kept.mode,
            "save_top_k": self._kept.save_top_k,
            "save_last": self._kept.save_last,
            "timestamp": self.timestamp,
            "custom_objects": self.custom_objects,
            "force": self.force,
            "root": self.root,
        }

    def info(self) -> str:
        """What it saves, how often and where."""
        what = "the model and its replay buffer" if self.buffer else "the model"
        when = f"every {self.frequency} episodes and at the end" if self.parent is None else "whenever it is called"
        return f"SaveCheckpoints: saves {what} {when} in {Path(self.root, self.dirname, 'saves')}"

    def state_dict(self) -> dict[str, Any]:
        """Adds what is due, what stands, the time, the returns and the latest logged values so far."""
        own = {"due": self._due, "saved": self._kept.state(*self._being_written)}
        return {**super().state_dict(), **own, **self._record.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        super().load_state_dict(state)
        self._due = state["due"]
        self._kept.load(state["saved"], self.saves)
        self._record.load_state_dict(state)

    def _on_start(self) -> None:
        if self.buffer and getattr(self.model, "replay_buffer", None) is None:
            raise ValueError(f"buffer=True, but {type(self.model).__name__} has no replay buffer: leave buffer out")
        if self.is_new_run:
            for path in (self.saves, self.directory / CONFIG_FILE, self.directory / COMPLETED_FILE):
                self._refuse_to_overwrite(path)
            self._due, self._record = None, RunRecord()
        self._failing = False
        self._told.clear()
        self._first_step, self._total = self.num_timesteps, self.model._total_timesteps
        self._env_name = env_name(self.training_env)
        self.saves.mkdir(parents=True, exist_ok=True)
        write_json(self.directory / CONFIG_FILE, describe_run(self.model, self.siblings()))
        (self.directory / COMPLETED_FILE).unlink(missing_ok=True)  # it is running again
        self._record.start(self.logger)

    def _on_episode(self, episode: Episode) -> bool:
        self._record.returns.take(episode.episode_return)
        if self.parent is None and episode.number % self.frequency == 0:
            self._due = episode.number
        return True

    def _on_every_step(self) -> bool:
        if self.parent is not None:
            self._save(f"{short_number(self.num_timesteps)}_steps")
        return True

    def _on_rollout_start(self) -> None:
        self._save_what_is_due()

    def _on_end(self) -> None:
        if self.interrupted and self.num_timesteps == self._first_step:
            return  # something else failed before training began
        self._save_what_is_due()
        if self.parent is None:
            self._failing = False  # the last one is worth a warning of its own
            self._save("final")
        self._record.stop()
        try:
            write_json(self.directory / COMPLETED_FILE, as_json(self._completed()))
        except Exception as error:
            self._warn(self.directory / COMPLETED_FILE, error)

    def _save_what_is_due(self) -> None:
        if self._due is not None:
            due, self._due = self._due, None
            self._save(short_number(due))

    def _save(self, suffix: str) -> None:
        stamp = f"_{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}" if self.timestamp else ""
        path, score = self.saves / f"{self._env_name}_{suffix}{stamp}", self._score()
        self._being_written = path, score
        try:
            with atomic_directory(path, lambda _: True) as directory:
                self._write(directory, score)
            self._kept.add(path, score)
            self._failing = False
            removed = self._kept.remove_others(spare=path if suffix == "final" else None)
        except Exception as error:  # hours of training are worth more than one checkpoint
            self._warn(path, error)
            return
        finally:
            self._being_written = None, None
        if self.verbose >= 1:
            for done, one in [("saved", path), *(("removed", one) for one in removed)]:
                print(f"SaveCheckpoints: {done} {one}")

    def _write(self, directory: Path, score: float | None) -> None:
        write_sb3_files(self.model, directory, self.buffer)
        write_json(directory / "metadata.json", as_json(self._metadata(score)))
        problem = write_whole_run(
            self.model,
            directory,
            callback=self.locals.get("callback"),
            buffer=self.buffer,
            custom_objects=self.custom_objects,
            metrics={} if self.monitor is None or score is None else {self.monitor: score},
        )
        if problem is not None:
            self._tell_once(problem, f"checkpoints hold model.zip alone, and no run can go on from them: {problem}")

    def _score(self) -> float | None:
        """The latest value of what is monitored."""
        if self.monitor is None:
            return None
        if self.monitor == EPISODE_RETURN:
            return self._record.returns.recent_average
        value = self._record.logged.get(self.monitor)
        is_to_come = self.monitor.startswith("eval/") and any(isinstance(one, EvalCallback) for one in self.siblings())
        if value is None and not is_to_come:
            known = self._record.logged.unknown(self.monitor)
            self._tell_once("monitor", f"there is nothing to monitor: {known}; or take {EPISODE_RETURN!r}")
        return value

    def _metadata(self, score: float | None) -> dict[str, Any]:
        evaluation = self.evaluation()
        judged: dict[str, Any] = {} if evaluation is None else {"evaluation_reward": evaluation.last_mean_reward}
        if self.monitor is not None:
            judged["monitored"] = {self.monitor: score}
        counted = {"episodes": self._episodes(), "timesteps": self.num_timesteps}
        return {**counted, **judged, **self._record.summary(), "versions": versions()}

    def _completed(self) -> dict[str, Any]:
        stopped = [callback for callback in self.siblings() if getattr(callback, "stopped_early", False)]
        return {
            "episodes": self._episodes(),
            "steps": self.num_timesteps,
            "total_timesteps": self._total,
            **self._record.summary(),
            "early_stopped": bool(stopped),
            "stop_reason": getattr(stopped[0], "reason", None) if stopped else None,
            "interrupted": self.interrupted and not stopped and self.num_timesteps < self._total,
        }

    def _episodes(self) -> int | None:
        """How many have ended; None where no callback could count them."""
        return self.episodes.finished if self.episodes.is_up_to_date(self.num_timesteps) else None

    def _tell_once(self, about: str, text: str) -> None:
        if about not in self._told:
            self._told.add(about)
            warnings.warn(f"SaveCheckpoints: {text}", RuntimeWarning, stacklevel=2)

    def _warn(self, path: Path, error: Exception) -> None:
        if not self._failing:
            self._failing = True
            reason = f"{type(error).__name__}: {error}"
            text = f"SaveCheckpoints could not write {path} ({reason}); training goes on and later ones are tried again"
            warnings.warn(text, RuntimeWarning, stacklevel=2)

    def _refuse_to_overwrite(self, path: Path) -> None:
        """Raise if there is a file at a path or below it, unless ``force``."""
        found = path.is_file() or (path.is_dir() and any(not below.is_dir() for below in path.rglob("*")))
        if found and not self.force:
            raise FileExistsError(
                f"{path} already holds something: choose another dirname than {self.dirname!r}, move or delete what is "
                "there, or pass force=True to write beside it and replace checkpoints of the same name"
            )
