"""A Comet experiment."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

os.environ.update(  # the package reads its environment once
    COMET_DISABLE_AUTO_LOGGING="1",
    COMET_ERROR_TRACKING_ENABLE="false",
    COMET_LOGGING_PARAMETERS_IGNORE="comet:curr_step,comet:curr_epoch",  # else a parameter with every row
)

import comet_ml


class Run:
    """A Comet experiment with all automatic logging off."""

    def __init__(
        self,
        online: bool,
        *,
        project_name: str,
        experiment_name: str | None,
        tags: list[str] | None,
        experiment_key: str,
        config: dict[str, Any],
    ) -> None:
        self._online = online
        self._directory = str(Path(comet_ml.get_config("comet.offline_directory")).absolute())
        self._experiment = comet_ml.start(
            project_name=project_name,
            experiment_key=experiment_key,
            mode="get_or_create",
            online=online,
            experiment_config=comet_ml.ExperimentConfig(
                name=experiment_name,
                tags=tags,
                auto_histogram_activation_logging=False,
                auto_histogram_gradient_logging=False,
                auto_histogram_tensorboard_logging=False,
                auto_histogram_weight_logging=False,
                auto_log_co2=False,
                auto_metric_logging=False,
                auto_output_logging=False,
                auto_param_logging=False,
                display_summary_level=0,
                log_code=False,
                log_env_details=False,
                log_git_metadata=False,
                log_git_patch=False,
                log_graph=False,
                parse_args=False,
            ),
        )
        if not self._experiment.alive:  # Comet says so in its log only
            raise ConnectionError(f"{self.server_url() if online else 'Comet'} refused the experiment")
        self._experiment.log_parameters(flatten(config))

    @staticmethod
    def server_url() -> str:
        """The server that online experiments are sent to."""
        return str(comet_ml.get_backend_address())

    def log(self, row: dict[str, Any], step: int, episode: int | None) -> None:
        """Record values at a timestep."""
        metrics = {}
        for key, value in row.items():
            if isinstance(value, str):
                self._experiment.log_text(value, step=step, metadata={"name": key})
            elif isinstance(value, dict):
                self._experiment.log_image(value["image"], name=key, step=step)
            elif hasattr(value, "shape"):
                self._experiment.log_histogram_3d(value, name=key, step=step)
            else:
                metrics[key] = int(value) if isinstance(value, bool) else value
        self._experiment.log_metrics(metrics, step=step, epoch=episode)

    def video(self, path: str, step: int) -> None:
        """Record a video file."""
        self._experiment.log_video(path, name=Path(path).name, step=step)

    def checkpoint(self, path: str, step: int) -> None:
        """Record a file or directory as a model. Comet has artifacts online only, models always."""
        if not Path(path).exists():
            raise FileNotFoundError(path)
        self._experiment.set_step(step)
        self._experiment.log_model(Path(path).name.removesuffix(".zip"), path, metadata={"timesteps": step})

    def location(self) -> str:
        """Where to find the experiment: its URL, or its archive."""
        if archives := self._archives():
            return self._with_command(str(archives[-1]))
        return str(self._experiment.url or f"experiment {self._experiment.id}")

    def local_copy(self) -> str:
        """The archive for what Comet could not send. It gives up, and writes it, after about two minutes."""
        return self._with_command(f"{self._directory}/{self._experiment.id}*.zip")

    def substitute_directory(self) -> str | None:
        """The temporary directory that Comet writes to, offline, if it cannot write to its own."""
        used = getattr(self._experiment, "offline_directory", None)
        is_writable = Path(self._directory).is_dir() and os.access(self._directory, os.W_OK)
        return None if used is None or is_writable else str(used)

    def finish(self, success: bool) -> None:
        """Send or write everything."""
        self._experiment.end()

    def _with_command(self, archive: str) -> str:
        force = "--force-reupload " if self._online else ""  # the server has the beginning
        return f"{archive} (to send it: comet upload {force}{archive})"

    def _archives(self) -> list[Path]:
        """The archives that Comet wrote, latest last: offline, or after the connection was lost."""
        directory = getattr(self._experiment, "offline_directory", None) or self._directory
        return sorted(Path(directory).glob(f"{self._experiment.id}*.zip"), key=lambda path: path.stat().st_mtime)


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level, joined by ``/``."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict) and value:
            flat.update(flatten(value, f"{prefix}{key}/"))
        else:
            flat[prefix + key] = json.dumps(value) if isinstance(value, dict | list) else value
    return flat
