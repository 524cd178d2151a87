"""A W&B run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def set_directories() -> None:
    """In a container without a home directory, or with one that is read-only, keep everything beside the runs."""
    try:
        home = Path.home()
    except RuntimeError:  # the package would not start
        home = Path("/")
        os.environ["HOME"] = str(home)
    if not os.access(home, os.W_OK):
        runs = Path(os.environ.get("WANDB_DIR") or ".").absolute() / "wandb"
        os.environ.setdefault("WANDB_DATA_DIR", str(runs / "data"))
        os.environ.setdefault("WANDB_CACHE_DIR", str(runs / "cache"))


os.environ["WANDB_ERROR_REPORTING"] = "false"  # the package reads its environment once
set_directories()

import wandb  # noqa: E402


class Run:
    """A W&B run with all automatic logging off.

    Every row has ``timesteps``, the x-axis of all charts. W&B's own step only counts rows: it drops a row whose step is
    below the last one's, and merges rows of one step, such as two episodes that ended together.
    """

    def __init__(
        self,
        online: bool,
        *,
        project: str,
        name: str | None,
        tags: list[str] | None,
        run_id: str,
        config: dict[str, Any],
        continues: bool,
    ) -> None:
        self._online = online
        self._run = wandb.init(
            project=project,
            name=name,
            tags=tags,
            id=run_id,
            resume="allow" if continues and online else None,
            mode="online" if online else "offline",
            settings=wandb.Settings(
                silent=True,
                console="off",
                disable_code=True,
                disable_git=True,
                save_code=False,
                x_disable_machine_info=True,
                x_disable_meta=True,
                x_disable_stats=True,
                x_save_requirements=False,
                init_timeout=30,
            ),
        )
        self._run.config.update(config, allow_val_change=True)
        self._run.define_metric("timesteps")
        self._run.define_metric("*", step_metric="timesteps")

    @staticmethod
    def server_url() -> str:
        """The server that online runs are sent to."""
        return str(wandb.setup().settings.base_url)

    def log(self, row: dict[str, Any], step: int, episode: int | None) -> None:
        """Record values at a timestep."""
        sent = {key: self._sendable(value) for key, value in row.items()}
        if episode is not None:
            sent["episode/number"] = episode
        self._run.log({**sent, "timesteps": step})

    def video(self, path: str, step: int) -> None:
        """Record a video file."""
        video = wandb.Video(path, caption=Path(path).stem)
        self._run.log({"video": video, "timesteps": step})

    def checkpoint(self, path: str, step: int) -> None:
        """Record a file or directory as a version of the run's model."""
        artifact = wandb.Artifact(f"{self._run.id}-checkpoint", type="model", metadata={"timesteps": step})
        (artifact.add_dir if Path(path).is_dir() else artifact.add_file)(path)
        self._run.log_artifact(artifact, aliases=["latest", Path(path).name.removesuffix(".zip")])

    def location(self) -> str:
        """Where to find the run: its URL, or its directory."""
        return str(self._run.url) if self._online else self.local_copy()

    def local_copy(self) -> str:
        """The directory of the whole run, sent or not."""
        directory = Path(self._run.dir).parent
        return f"{directory} (to send it: wandb sync {directory})"

    def substitute_directory(self) -> str | None:
        """The temporary directory that W&B writes to if it cannot write to its own."""
        own, used = Path(os.environ.get("WANDB_DIR") or "."), Path(self._run.dir).parents[2]
        return None if os.access(own, os.W_OK) or used == own.absolute() else str(used)

    def finish(self, success: bool) -> None:
        """Send or write everything."""
        self._run.finish(exit_code=0 if success else 1)
        wandb.teardown()

    def _sendable(self, value: Any) -> Any:
        if isinstance(value, dict):
            return wandb.Image(value["image"])
        return wandb.Histogram(value) if hasattr(value, "shape") else value
