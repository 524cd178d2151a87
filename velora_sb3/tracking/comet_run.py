"""A Comet experiment."""

from __future__ import annotations

import configparser
import json
import os
import uuid
from pathlib import Path
from typing import Any

from velora_sb3.tracking.worker import check_answers


def api_key_known() -> bool:
    """Whether Comet will find an API key, without importing it."""
    if os.environ.get("COMET_API_KEY"):
        return True
    path = Path(os.environ.get("COMET_CONFIG") or "~").expanduser()
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read(path / ".comet.config" if path.is_dir() else path, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):
        return False
    return bool(parser.get("comet", "api_key", fallback=""))


def new_experiment_key() -> str:
    """A key as Comet makes them; ``COMET_EXPERIMENT_KEY`` if it is set."""
    return os.environ.get("COMET_EXPERIMENT_KEY") or uuid.uuid4().hex


class CometRun:
    """A Comet experiment with nothing logged but what it is told to."""

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
        os.environ.update(
            COMET_DISABLE_AUTO_LOGGING="1",
            COMET_ERROR_TRACKING_ENABLE="false",
            COMET_LOGGING_PARAMETERS_IGNORE="comet:curr_step,comet:curr_epoch",  # else a parameter with every row
        )
        import comet_ml

        self._directory = str(Path(comet_ml.get_config("comet.offline_directory")).absolute())
        self.server: str | None = None
        if online:
            self.server = str(comet_ml.get_backend_address())
            check_answers(self.server)
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
            raise ConnectionError(f"{self.server or 'Comet'} refused the experiment")
        self._experiment.log_parameters(flattened(config))

    def log(self, row: dict[str, Any], step: int, episode: int | None) -> None:
        """Record values, at a timestep."""
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
        self._experiment.log_model(Path(path).stem, path, metadata={"timesteps": step})

    def whereabouts(self) -> str:
        """Where the experiment is to be found."""
        if archives := self._archives():
            return self._with_command(str(archives[-1]))
        return str(self._experiment.url or f"experiment {self._experiment.id}")

    def on_disk(self) -> str:
        """Where Comet writes what it cannot send, once it has given up, after two minutes or so."""
        return self._with_command(f"{self._directory}/{self._experiment.id}*.zip")

    def finish(self, in_peace: bool) -> None:
        """Send or write everything."""
        self._experiment.end()

    def _with_command(self, archive: str) -> str:
        again = "--force-reupload " if self.server is not None else ""  # the server has the beginning
        return f"{archive} (to send it: comet upload {again}{archive})"

    def _archives(self) -> list[Path]:
        """What Comet has written to disk, the latest last: offline, or after the connection was lost."""
        directory = getattr(self._experiment, "offline_directory", None) or self._directory
        return sorted(Path(directory).glob(f"{self._experiment.id}*.zip"), key=lambda path: path.stat().st_mtime)


def flattened(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level, as Comet shows them."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict) and value:
            flat.update(flattened(value, f"{prefix}{key}/"))
        else:
            flat[prefix + key] = json.dumps(value) if isinstance(value, dict | list) else value
    return flat
