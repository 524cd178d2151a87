"""Checkpoints with names, in a directory for each."""

from __future__ import annotations

import io
import time
import warnings
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from velora_sb3.callbacks.base import VeloraCallback
from velora_sb3.callbacks.episodes import Episode
from velora_sb3.callbacks.naming import env_name, short_number
from velora_sb3.callbacks.return_statistics import ReturnStatistics
from velora_sb3.callbacks.run_description import as_json, describe_run, versions
from velora_sb3.callbacks.whole_files import whole_directory, write_json

CONFIG_FILE = "model_config.json"
COMPLETED_FILE = "completed.json"


class SaveCheckpoints(VeloraCallback):
    """Saves the model every so many episodes and at the end, with all that tells what it is.

    ::

        <root>/<dirname>/model_config.json                algorithm, environment, hyperparameters, callbacks, versions
        <root>/<dirname>/saves/<Env>_100/model.zip        as SB3 saves it
        <root>/<dirname>/saves/<Env>_100/metadata.json    episodes, timesteps, seconds, returns, versions
        <root>/<dirname>/saves/<Env>_100/vecnormalize.pkl if VecNormalize is used
        <root>/<dirname>/saves/<Env>_100/replay_buffer.pkl if ``buffer``
        <root>/<dirname>/saves/<Env>_final/
        <root>/<dirname>/completed.json                   how the run went

    A checkpoint that is due is written when the next rollout starts: then the last step is stored and trained on. Of
    several that become due within one rollout only the last is written, since the weights are the same.

    As a child of ``EvalCallback`` or ``EveryNTimesteps`` it saves whenever it is called, at once, under the number of
    timesteps (``<Env>_20K_steps``), and no ``<Env>_final``. ``frequency`` has no meaning there.

    A checkpoint is written beside its place and renamed, so it is whole whenever the program dies. What cannot be
    written when training starts raises. A later checkpoint that fails warns, training goes on, and the next one is
    tried again.

    Args:
        dirname: Name of the directory for this run, below ``root``.
        frequency: Episodes between checkpoints.
        buffer: Whether each checkpoint gets the replay buffer too, as large as it is in memory.
        force: Go on writing in a directory that holds something. A checkpoint of the same name is replaced, nothing
            else is removed.
        root: The directory of all runs.
        verbose: 0 for silence, 1 to print what it does.

    Attributes:
        directory: ``<root>/<dirname>``.
        saves: ``<root>/<dirname>/saves``.
        saved: The checkpoints that stand, oldest first; new ones are appended.

    Raises:
        FileExistsError: If the directory holds something and ``force`` is not set; when it is constructed, and when a
            second run from timestep 0 starts.
        ValueError: If ``dirname`` leads out of ``root`` or ``frequency`` is below 1; when training starts, if
            ``buffer`` is asked of an algorithm that has none.
    """

    def __init__(
        self,
        dirname: str,
        *,
        frequency: int = 100,
        buffer: bool = False,
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
        self.directory = Path(root, dirname).absolute()
        self.saves = self.directory / "saves"
        self.saved: list[Path] = []
        self._refuse_to_overwrite(self.directory)
        self._due: int | None = None
        self._failing = False
        self._losses: dict[str, Any] = {}
        self._returns = ReturnStatistics()
        self._seconds_before = 0.0  # of earlier calls of learn()
        self._since: float | None = None  # when the running one started

    def config(self) -> tuple[str, dict[str, Any]]:
        """Name and settings."""
        return type(self).__name__, {
            "dirname": self.dirname,
            "frequency": self.frequency,
            "buffer": self.buffer,
            "force": self.force,
            "root": self.root,
        }

    def info(self) -> str:
        """What it saves, how often and where."""
        what = "the model and its replay buffer" if self.buffer else "the model"
        when = f"every {self.frequency} episodes and at the end" if self.parent is None else "whenever it is called"
        return f"SaveCheckpoints: saves {what} {when} in {Path(self.root, self.dirname, 'saves')}"

    def state_dict(self) -> dict[str, Any]:
        """Adds what is due, the time and the returns so far."""
        own = {"due": self._due, "seconds": self._seconds(), "returns": self._returns.state_dict()}
        return {**super().state_dict(), **own}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        super().load_state_dict(state)
        self._due, self._seconds_before = state["due"], float(state["seconds"])
        self._returns.load_state_dict(state["returns"])

    def _on_start(self) -> None:
        if self.buffer and getattr(self.model, "replay_buffer", None) is None:
            raise ValueError(f"buffer=True, but {type(self.model).__name__} has no replay buffer: leave buffer out")
        if self.is_new_run:
            for path in (self.saves, self.directory / CONFIG_FILE, self.directory / COMPLETED_FILE):
                self._refuse_to_overwrite(path)
            self._due, self._seconds_before, self._losses, self._returns = None, 0.0, {}, ReturnStatistics()
        self._since, self._failing = time.monotonic(), False
        self._first_step, self._total = self.num_timesteps, self.model._total_timesteps
        self._env_name = env_name(self.training_env)
        self.saves.mkdir(parents=True, exist_ok=True)
        write_json(self.directory / CONFIG_FILE, describe_run(self.model, self.siblings()))
        (self.directory / COMPLETED_FILE).unlink(missing_ok=True)  # it is running again

    def _on_episode(self, episode: Episode) -> bool:
        self._returns.take(episode.episode_return)
        if self.parent is None and episode.number % self.frequency == 0:
            self._due = episode.number
        return True

    def _on_every_step(self) -> bool:
        if self.parent is not None:
            self._save(f"{short_number(self.num_timesteps)}_steps")
        return True

    def _on_rollout_start(self) -> None:
        self._keep_losses()
        self._save_what_is_due()

    def _on_end(self) -> None:
        if self.cut_short and self.num_timesteps == self._first_step:
            return  # something else failed before training began
        self._keep_losses()
        self._save_what_is_due()
        if self.parent is None:
            self._failing = False  # the last one is worth a warning of its own
            self._save("final")
        self._seconds_before, self._since = self._seconds(), None
        try:
            write_json(self.directory / COMPLETED_FILE, as_json(self._completed()))
        except Exception as error:
            self._warn(self.directory / COMPLETED_FILE, error)

    def _save_what_is_due(self) -> None:
        if self._due is not None:
            due, self._due = self._due, None
            self._save(short_number(due))

    def _save(self, suffix: str) -> None:
        path = self.saves / f"{self._env_name}_{suffix}"
        try:
            with whole_directory(path) as directory:
                self._write(directory)
        except Exception as error:  # hours of training are worth more than one checkpoint
            self._warn(path, error)
            return
        self._failing = False
        self.saved.append(path)
        if self.verbose >= 1:
            print(f"SaveCheckpoints: saved {path}")

    def _write(self, directory: Path) -> None:
        archive = io.BytesIO()  # SB3 leaves a file open if the disk is full
        self.model.save(archive)
        (directory / "model.zip").write_bytes(archive.getbuffer())
        normalizer = self.model.get_vec_normalize_env()
        if normalizer is not None:
            normalizer.save(str(directory / "vecnormalize.pkl"))
        if self.buffer and isinstance(self.model, OffPolicyAlgorithm):
            with (directory / "replay_buffer.pkl").open("wb") as file:
                self.model.save_replay_buffer(file)
        write_json(directory / "metadata.json", as_json(self._metadata()))

    def _metadata(self) -> dict[str, Any]:
        evaluation = self.evaluation()
        judged = {} if evaluation is None else {"evaluation_reward": evaluation.last_mean_reward}
        counted = {**self._counted(), "timesteps": self.num_timesteps, **judged}
        return {**counted, "losses": self._losses, "versions": versions()}

    def _completed(self) -> dict[str, Any]:
        stopped = [callback for callback in self.siblings() if getattr(callback, "stopped_early", False)]
        cut_short = self.cut_short and not stopped and self.num_timesteps < self._total
        return {
            **self._counted(),
            "steps": self.num_timesteps,
            "total_timesteps": self._total,
            "early_stopped": bool(stopped),
            "stop_reason": getattr(stopped[0], "reason", None) if stopped else None,
            "interrupted": cut_short,
            "losses": self._losses,
        }

    def _counted(self) -> dict[str, Any]:
        """The run so far. Without episodes where no callback could count them."""
        episodes = self.episodes.finished if self.episodes.is_up_to_date(self.num_timesteps) else None
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        return {"episodes": episodes, "seconds": self._seconds(), "time": now, **self._returns.summary()}

    def _seconds(self) -> float:
        running = 0.0 if self._since is None else time.monotonic() - self._since
        return round(self._seconds_before + running, 3)

    def _keep_losses(self) -> None:
        """Note the losses that ``train()`` has logged, before SB3 writes them out and forgets them."""
        for name, value in self.logger.name_to_value.items():
            if name.startswith("train/") and "loss" in name:
                self._losses[name.removeprefix("train/")] = value

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
