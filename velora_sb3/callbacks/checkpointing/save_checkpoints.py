"""Named checkpoints of a run, each in its own directory."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from sb3_contrib import ARS
from stable_baselines3.common.callbacks import CallbackList, EvalCallback

from velora_sb3._atomic import write_json
from velora_sb3._optional import versions
from velora_sb3._signals import postponed_signals
from velora_sb3._validation import check_bool, check_choice, check_integer
from velora_sb3.callbacks.base.callback import VeloraCallback
from velora_sb3.callbacks.base.description import as_json, describe_run
from velora_sb3.callbacks.base.episodes import Episode
from velora_sb3.callbacks.base.naming import env_name, short_number
from velora_sb3.callbacks.base.termination import TERMINATION
from velora_sb3.callbacks.base.triggers import EveryTimesteps
from velora_sb3.callbacks.checkpointing.checkpoint_files import write_sb3_files, write_whole_run
from velora_sb3.callbacks.checkpointing.kept_checkpoints import KeptCheckpoints
from velora_sb3.callbacks.checkpointing.run_record import RunRecord
from velora_sb3.checkpoints import atomic_directory
from velora_sb3.checkpoints.metrics import metrics_are_old
from velora_sb3.checkpoints.moment import Moment

CONFIG_FILE = "model_config.json"
COMPLETED_FILE = "completed.json"
EPISODE_RETURN = "episode return"


class SaveCheckpoints(VeloraCallback):
    """Saves the run every N episodes or every N timesteps, and at the end.

    ::

        <root>/<dirname>/model_config.json                algorithm, environment, hyperparameters, callbacks, versions
        <root>/<dirname>/saves/<Env>_100/model.zip        SB3's own file
        <root>/<dirname>/saves/<Env>_100/metadata.json    episodes, timesteps, seconds, returns, versions
        <root>/<dirname>/saves/<Env>_100/manifest.json    and the files it lists: what ``resume_training`` needs
        <root>/<dirname>/saves/<Env>_100/vecnormalize.pkl if VecNormalize is used
        <root>/<dirname>/saves/<Env>_100/replay_buffer.pkl if ``buffer=True``
        <root>/<dirname>/saves/<Env>_final/
        <root>/<dirname>/completed.json                   how the run went

    A checkpoint that is due is written when the next rollout starts, once the last step is stored and trained on. If
    several become due within one rollout, only the last is written: the weights are the same. Checkpoints are named
    after the number of episodes (``<Env>_100``) or, with ``every_n_timesteps``, of timesteps (``<Env>_20K_steps``).

    As a child of ``EvalCallback`` or ``EveryNTimesteps`` it saves at once whenever it is called, under the number of
    timesteps, and writes no ``<Env>_final``; ``frequency`` and ``every_n_timesteps`` have no effect. A run resumed
    from such a checkpoint starts new episodes, because the current step is not stored yet.

    Checkpoints are complete or absent, even if the process is killed. A directory that cannot be written when
    training starts raises. A later checkpoint that fails warns; training continues and the next one is tried. If
    something is not plain data, a warning names it and checkpoints contain SB3's files only.

    Args:
        dirname: Name of the run's directory, below ``root``.
        frequency: Episodes between checkpoints, counted over all environments.
        every_n_timesteps: Timesteps between checkpoints, instead of ``frequency``. Triggers when training crosses a
            multiple.
        buffer: Whether to save the replay buffer. True saves it twice: for SB3 (``replay_buffer.pkl``, as large as it
            is in memory) and for ``resume_training``. ``"resume"`` saves what ``resume_training`` needs: the buffer
            once, if the algorithm has one. Without it a resumed run starts with an empty buffer.
        keep_last: How many of the newest checkpoints to keep. Older ones that this callback wrote are removed once a
            new one is complete. None keeps all, unless ``monitor`` is set.
        monitor: Metric that ranks the checkpoints: a key of SB3's logger, such as ``"eval/mean_reward"`` or
            ``"rollout/ep_rew_mean"``, or ``"episode return"`` for the mean of the last ten episodes. Each value counts
            for the first checkpoint after it; a checkpoint without a value ranks last.
        mode: ``"max"`` if higher is better, ``"min"`` if lower is.
        save_top_k: How many of the best checkpoints to keep, with ``monitor``.
        save_last: Whether to keep the newest as well. The final one is always kept.
        timestamp: Whether names end with the UTC time, as in ``<Env>_100_20260131T235959Z``.
        on_signal: Whether the first Ctrl-C, SIGTERM or SIGHUP waits until the next rollout starts, is saved there and
            only then ends the program, with exit code 128 + signal: the run can be resumed exactly. A second signal
            ends it at once. Like all signals, only in the main thread, and only if the program has no handlers of its
            own. ``ARS`` calls no callback between two updates and stops at the next step instead.
        custom_objects: Names of constructor arguments of the model that are not plain data, such as a custom
            schedule. They are not saved; pass them to ``resume_training``.
        force: Write into a directory that already contains files. Checkpoints of the same name are replaced; no other
            file is removed.
        root: Parent directory of all runs.
        verbose: 0 for no output, 1 to print each checkpoint.

    Attributes:
        directory: ``<root>/<dirname>``.
        saves: ``<root>/<dirname>/saves``.
        saved: The checkpoints on disk, oldest first.

    Raises:
        FileExistsError: If the directory contains files and ``force`` is not set: at construction, and when a second
            run starts from timestep 0.
        ValueError: If an argument is out of range, ``dirname`` is not below ``root``, or ``mode``, ``save_top_k`` or
            ``save_last`` is set without ``monitor``; when training starts, if ``buffer=True`` and the algorithm has no
            replay buffer.
    """

    def __init__(
        self,
        dirname: str | Path,
        *,
        frequency: int = 100,
        every_n_timesteps: int | None = None,
        buffer: bool | Literal["resume"] = False,
        keep_last: int | None = None,
        monitor: str | None = None,
        mode: Literal["max", "min"] = "max",
        save_top_k: int = 1,
        save_last: bool = True,
        timestamp: bool = False,
        on_signal: bool = False,
        custom_objects: Iterable[str] = (),
        force: bool = False,
        root: str | Path = "checkpoints",
        verbose: int = 0,
    ) -> None:
        super().__init__(verbose)
        parts = Path(dirname).parts if isinstance(dirname, str | Path) else ()
        if not parts or Path(dirname).is_absolute() or ".." in parts:
            raise ValueError(f"dirname must be a relative path below root={str(root)!r}, got {dirname!r}")
        self.dirname, self.force, self.root = str(dirname), force, str(root)
        self.frequency = check_integer("frequency", frequency)
        self._trigger = None if every_n_timesteps is None else EveryTimesteps(every_n_timesteps)
        self.every_n_timesteps = None if self._trigger is None else self._trigger.period
        self.buffer = check_choice("buffer", buffer, (False, True, "resume"))
        self.monitor, self.timestamp, self.on_signal = monitor, timestamp, check_bool("on_signal", on_signal)
        self._needs_every_step = self.on_signal  # children of an event are not told when a rollout starts
        self.custom_objects = [custom_objects] if isinstance(custom_objects, str) else list(custom_objects)
        self.directory = Path(root, dirname).absolute()
        self.saves = self.directory / "saves"
        self._kept = KeptCheckpoints(keep_last, monitor is not None, mode, save_top_k, save_last)
        ranking = {"mode": (mode, "max"), "save_top_k": (save_top_k, 1), "save_last": (save_last, True)}
        if monitor is None and (alone := [name for name, (value, default) in ranking.items() if value != default]):
            raise ValueError(
                f"{' and '.join(alone)} without monitor: no metric ranks the checkpoints; pass one, such as "
                "monitor='eval/mean_reward', or keep_last=N to keep the newest"
            )
        self._refuse_to_overwrite(self.directory)
        self._due: int | None = None  # the number of episodes after which a checkpoint became due
        self._requested = False
        self._saved_at: int | None = None  # timestep of the newest checkpoint of this learn()
        self._score_saved: float | None = None  # that of the newest checkpoint
        self._failing = False
        self._warned_about: set[str] = set()
        self._scored = 0  # how many values of the monitored metric belong to checkpoints
        self._being_written: tuple[Path | None, float | None] = (None, None)
        self._record = RunRecord()

    @property
    def saved(self) -> list[Path]:
        """The checkpoints on disk, oldest first."""
        return self._kept.paths

    def save_at_next_rollout(self) -> None:
        """Request a checkpoint at the start of the next rollout. Safe to call from a signal handler."""
        self._requested = True

    def config(self) -> tuple[str, dict[str, Any]]:
        """Name and settings."""
        return type(self).__name__, {
            "dirname": self.dirname,
            "frequency": self.frequency,
            "every_n_timesteps": self.every_n_timesteps,
            "buffer": self.buffer,
            "keep_last": self._kept.keep_last,
            "monitor": self.monitor,
            "mode": self._kept.mode,
            "save_top_k": self._kept.save_top_k,
            "save_last": self._kept.save_last,
            "timestamp": self.timestamp,
            "on_signal": self.on_signal,
            "custom_objects": self.custom_objects,
            "force": self.force,
            "root": self.root,
        }

    def info(self) -> str:
        """What it saves, how often and where."""
        what = "the model and its replay buffer" if self.buffer else "the model"
        steps = self.every_n_timesteps
        period = f"{self.frequency} episodes" if steps is None else f"{steps} timesteps"
        when = f"every {period} and at the end" if self.parent is None else "whenever it is called"
        return f"SaveCheckpoints: saves {what} {when} in {Path(self.root, self.dirname, 'saves')}"

    def state_dict(self) -> dict[str, Any]:
        """Adds what is due and saved, the time, the returns and the latest logged values."""
        unscored = self._being_written[0] is None and self._values_so_far() > self._scored
        own = {"due": self._due, "saved": self._kept.state(*self._being_written), "unscored": unscored}
        return {**super().state_dict(), **own, **self._record.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state."""
        super().load_state_dict(state)
        self._due = state["due"]
        self._kept.load(state["saved"], self.saves)
        self._record.load_state_dict(state)
        self._scored = self._values_so_far() - int(state.get("unscored", False))

    def _on_start(self) -> None:
        if self.buffer is True and getattr(self.model, "replay_buffer", None) is None:
            raise ValueError(f"buffer=True, but {type(self.model).__name__} has no replay buffer: omit buffer")
        if self.is_new_run:
            for path in (self.saves, self.directory / CONFIG_FILE, self.directory / COMPLETED_FILE):
                self._refuse_to_overwrite(path)
            self._due, self._record, self._scored = None, RunRecord(), 0
            self._kept.clear()
            metrics_are_old(self.model, CallbackList(self.siblings()), self.saves)
        self._failing, self._requested, self._saved_at = False, False, None
        self._warned_about.clear()
        self._first_step, self._total = self.num_timesteps, int(self.model._total_timesteps)
        self._env_name = env_name(self.training_env)
        self.saves.mkdir(parents=True, exist_ok=True)
        if self.is_new_run:
            self._claim(self.directory / CONFIG_FILE)
        write_json(self.directory / CONFIG_FILE, describe_run(self.model, self.siblings()))
        (self.directory / COMPLETED_FILE).unlink(missing_ok=True)  # the run is not complete any more
        self._record.start(self.logger)
        if self.on_signal:
            TERMINATION.wait()

    def _on_episode(self, episode: Episode) -> bool:
        self._record.returns.add(episode.episode_return)
        if self.parent is None and self._trigger is None and episode.number % self.frequency == 0:
            self._due = episode.number
        return True

    def _on_every_step(self) -> bool:
        if self.parent is not None:
            self._save_timestep("rollout")
        if self.on_signal and isinstance(self.model, ARS):
            TERMINATION.check()
        return True

    def _on_rollout_start(self) -> None:
        is_stopping = self.on_signal and TERMINATION.pending is not None
        is_due = self._trigger is not None and self._trigger.crossed(self.num_timesteps)
        is_due, self._requested = is_due or self._requested or is_stopping, False
        if not self._save_due("rollout start") and is_due:
            self._save_timestep("rollout start")
        if is_stopping:
            TERMINATION.check()

    def _on_end(self) -> None:
        if self.interrupted and self.num_timesteps == self._first_step:
            return  # something else failed before training began
        is_saved = self.interrupted and self._saved_at == self.num_timesteps
        self._save_due("outside rollouts")
        if self._trigger is not None:
            self._trigger.crossed(self.num_timesteps)  # the final checkpoint stands for one that is due
        if self.parent is None and not is_saved:
            self._failing = False  # the last one is worth a warning of its own
            self._save("final", "outside rollouts")
        self._record.stop()
        try:
            write_json(self.directory / COMPLETED_FILE, as_json(self._completed()))
        except Exception as error:
            self._warn(self.directory / COMPLETED_FILE, error)

    def _save_due(self, moment: Moment) -> bool:
        """Save the checkpoint that an episode made due; whether there was one."""
        due, self._due = self._due, None  # cleared first, as the state is saved too
        if due is not None:
            self._save(short_number(due), moment)
        return due is not None

    def _save_timestep(self, moment: Moment) -> None:
        self._save(f"{short_number(self.num_timesteps)}_steps", moment)

    @postponed_signals()
    def _save(self, suffix: str, moment: Moment) -> None:
        stamp = f"_{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}" if self.timestamp else ""
        path, score = self.saves / f"{self._env_name}_{suffix}{stamp}", self._score()
        self._being_written = path, score
        try:
            with atomic_directory(path, lambda _: True) as directory:
                self._write(directory, score, moment)
            self._kept.add(path, score)
            self._scored, self._score_saved = self._values_so_far(), score
            self._failing, self._saved_at = False, self.num_timesteps
        except Exception as error:  # a failed checkpoint must not end hours of training
            self._warn(path, error)
            return
        finally:
            self._being_written = None, None
        self._say(f"saved {path}")
        for other in self._kept.others(spare=path if suffix == "final" else None):
            try:
                self._kept.remove(other)
                self._say(f"removed {other}")
            except OSError as error:
                reason = f"{type(error).__name__}: {error}"
                self._warn_once("removal", f"could not remove {other} ({reason}); training continues and it is retried")

    def _say(self, text: str) -> None:
        if self.verbose >= 1:
            print(f"SaveCheckpoints: {text}")

    def _write(self, directory: Path, score: float | None, moment: Moment) -> None:
        write_sb3_files(self.model, directory, self.buffer is True)
        write_json(directory / "metadata.json", as_json(self._metadata(score)))
        problem = write_whole_run(
            self.model,
            directory,
            moment=moment,
            callback=self.locals.get("callback"),
            buffer=bool(self.buffer),
            custom_objects=self.custom_objects,
            metrics={} if self.monitor is None else {self.monitor: math.nan if score is None else score},
        )
        if problem is not None:
            self._warn_once(problem, f"checkpoints contain model.zip only and cannot be resumed: {problem}")

    def _score(self) -> float | None:
        """The latest value of the monitored metric, unless it belongs to an earlier checkpoint."""
        if self.monitor is None:
            return None
        if self._saved_at == self.num_timesteps:  # the same weights
            return self._score_saved
        is_new = self._values_so_far() > self._scored
        if self.monitor == EPISODE_RETURN:
            return self._record.returns.recent_average if is_new else None
        value = self._record.logged.get(self.monitor)
        is_pending = self.monitor.startswith("eval/") and any(isinstance(one, EvalCallback) for one in self.siblings())
        if value is None and not is_pending:
            known = self._record.logged.unknown(self.monitor)
            self._warn_once("monitor", f"cannot rank checkpoints: {known}; or use {EPISODE_RETURN!r}")
        return value if is_new else None

    def _values_so_far(self) -> int:
        """How many values of the monitored metric there have been."""
        if self.monitor is None:
            return 0
        return self._record.returns.count if self.monitor == EPISODE_RETURN else self._record.logged.count(self.monitor)

    def _metadata(self, score: float | None) -> dict[str, Any]:
        evaluation = self.evaluation()
        scores: dict[str, Any] = {} if evaluation is None else {"evaluation_reward": evaluation.last_mean_reward}
        if self.monitor is not None:
            scores["monitored"] = {self.monitor: score}
        counted = {"episodes": self._episodes(), "timesteps": self.num_timesteps}
        return {**counted, **scores, **self._record.summary(), "versions": versions()}

    def _completed(self) -> dict[str, Any]:
        stopped = [callback for callback in self.siblings() if getattr(callback, "stopped_early", False)]
        ended_before = self.num_timesteps < self._total
        return {
            "episodes": self._episodes(),
            "steps": self.num_timesteps,
            "total_timesteps": self._total,
            **self._record.summary(),
            "early_stopped": bool(stopped) or (ended_before and not self.interrupted),  # SB3's own do not tell
            "stop_reason": getattr(stopped[0], "reason", None) if stopped else None,
            "interrupted": self.interrupted and not stopped and ended_before,
        }

    def _episodes(self) -> int | None:
        """How many have ended; None if the callback was not called on every step."""
        return self.episodes.finished if self.episodes.is_up_to_date(self.num_timesteps) else None

    def _warn_once(self, about: str, text: str) -> None:
        if about not in self._warned_about:
            self._warned_about.add(about)
            warnings.warn(f"SaveCheckpoints: {text}", RuntimeWarning, stacklevel=2)

    def _warn(self, path: Path, error: Exception) -> None:
        if not self._failing:
            self._failing = True
            reason = f"{type(error).__name__}: {error}"
            text = f"SaveCheckpoints could not write {path} ({reason}); training continues and later ones are tried"
            warnings.warn(text, RuntimeWarning, stacklevel=2)

    def _claim(self, path: Path) -> None:
        """Create a file, or raise if a run that started at the same moment just did, unless ``force``."""
        try:
            path.touch(exist_ok=self.force)
        except FileExistsError:
            self._refuse_to_overwrite(path)

    def _refuse_to_overwrite(self, path: Path) -> None:
        """Raise if there is a file at or below a path, unless ``force``."""
        found = path.is_file() or (path.is_dir() and any(not below.is_dir() for below in path.rglob("*")))
        if found and not self.force:
            raise FileExistsError(
                f"{path} already contains files: choose another dirname than {self.dirname!r}, move or delete them, or "
                "pass force=True to keep them and replace checkpoints of the same name"
            )
