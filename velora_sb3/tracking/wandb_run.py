"""A W&B run."""

from __future__ import annotations

import netrc
import os
import secrets
import string
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from velora_sb3.tracking.worker import check_answers

MODES = ("online", "offline", "disabled")


def api_key_known() -> bool:
    """Whether W&B will find an API key, without importing it."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").hostname or ""
    given = os.environ.get("NETRC")
    for path in [Path(given)] if given else [Path.home() / ".netrc", Path.home() / "_netrc"]:
        try:
            entry = netrc.netrc(str(path)).authenticators(host)
        except (OSError, netrc.NetrcParseError):
            continue
        if entry is not None and entry[2]:
            return True
    return False


def new_run_id() -> str:
    """An id as W&B makes them; ``WANDB_RUN_ID`` if it is set, as sweeps do."""
    letters = string.ascii_lowercase + string.digits
    return os.environ.get("WANDB_RUN_ID") or "".join(secrets.choice(letters) for _ in range(8))


class WandbRun:
    """A W&B run with nothing logged but what it is told to.

    Every row has ``timesteps``, and that is what charts are drawn over. W&B's own step only counts rows: it drops a row
    whose step lies behind another's and merges rows of one step, such as two episodes that ended together.
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
        os.environ["WANDB_ERROR_REPORTING"] = "false"
        import wandb

        self.server: str | None = None
        if online:
            self.server = str(wandb.setup().settings.base_url)
            check_answers(self.server)
        self._wandb = wandb
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

    def log(self, row: dict[str, Any], step: int, episode: int | None) -> None:
        """Record values, at a timestep."""
        sent = {key: self._sendable(value) for key, value in row.items()}
        if episode is not None:
            sent["episode/number"] = episode
        self._run.log({**sent, "timesteps": step})

    def video(self, path: str, step: int) -> None:
        """Record a video file."""
        video = self._wandb.Video(path, caption=Path(path).stem)
        self._run.log({"video": video, "timesteps": step})

    def checkpoint(self, path: str, step: int) -> None:
        """Record a file or directory as a version of the run's model."""
        artifact = self._wandb.Artifact(f"{self._run.id}-checkpoint", type="model", metadata={"timesteps": step})
        (artifact.add_dir if Path(path).is_dir() else artifact.add_file)(path)
        self._run.log_artifact(artifact, aliases=["latest", Path(path).stem])

    def whereabouts(self) -> str:
        """Where the run is to be found."""
        return self.on_disk() if self.server is None else str(self._run.url)

    def on_disk(self) -> str:
        """Where W&B writes the whole run, sent or not."""
        directory = Path(self._run.dir).parent
        return f"{directory} (to send it: wandb sync {directory})"

    def finish(self, in_peace: bool) -> None:
        """Send or write everything."""
        self._run.finish(exit_code=0 if in_peace else 1)
        self._wandb.teardown()

    def _sendable(self, value: Any) -> Any:
        if isinstance(value, dict):
            return self._wandb.Image(value["image"])
        return self._wandb.Histogram(value) if hasattr(value, "shape") else value
