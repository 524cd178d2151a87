"""Training in Comet."""

from __future__ import annotations

from typing import Any

from velora_sb3.callbacks.trackers.analytics import Analytics
from velora_sb3.tracking.comet_run import api_key_known, new_experiment_key
from velora_sb3.tracking.tracker import Tracker


class CometAnalytics(Analytics):
    """Sends training to `Comet <https://www.comet.com>`_: episodes, SB3's log, settings, videos, checkpoints.

    Args:
        project_name: Name of the project.
        experiment_name: Name of the experiment; None for ``<Algorithm>_<EnvName>_<total steps>``. An experiment that
            is continued keeps its own if this is None.
        tags: Its tags; None for the names of algorithm and environment, or none if the experiment is continued.
        experiment_key: Key of an experiment to continue: 32 to 50 letters and digits.
        online: True to send it to the server, False to write an archive for ``comet upload``. None sends it if there
            is an API key.
        checkpoints: Whether to send what a ``SaveCheckpoints`` saves.
        verbose: 0 for silence, 1 to say what it does and where the experiment is.

    Raises:
        ImportError: If ``comet_ml`` is missing.
        ValueError: If ``online`` is True and there is no API key, or the experiment's key has another form.
        TypeError: If tags are no list of strings.
    """

    kind = "comet"

    def __init__(
        self,
        project_name: str,
        experiment_name: str | None = None,
        *,
        tags: list[str] | None = None,
        experiment_key: str | None = None,
        online: bool | None = None,
        checkpoints: bool = False,
        verbose: int = 0,
    ) -> None:
        super().__init__(experiment_name, tags, experiment_key, checkpoints, verbose)
        if experiment_key is not None and not (experiment_key.isalnum() and 32 <= len(experiment_key) <= 50):
            raise ValueError(f"experiment_key must be 32 to 50 letters and digits, got {experiment_key!r}")
        if online and not api_key_known():
            raise ValueError(
                "online=True needs an API key: set COMET_API_KEY or run `comet login`, "
                "or give online=False to record on disk"
            )
        self.project_name, self.online = project_name, online
        self._online = api_key_known() if online is None else online
        if not self._online and online is None:
            self._note_missing_key("set COMET_API_KEY or run `comet login`")

    @property
    def experiment_key(self) -> str | None:
        """Key of the experiment; None before the first starts."""
        return self._run_key

    def config(self) -> tuple[str, dict[str, Any]]:
        """Name and settings."""
        return type(self).__name__, {
            "project_name": self.project_name,
            "experiment_name": self.name,
            "tags": self.tags,
            "experiment_key": self._given_key,
            "online": self.online,
            "checkpoints": self.checkpoints,
        }

    def info(self) -> str:
        """Where it records."""
        place = "Comet" if self._online else "disk"
        return f"CometAnalytics: records project {self.project_name!r} on {place}"

    def _new_key(self) -> str:
        return new_experiment_key()

    def _open(self, name: str | None, tags: list[str] | None, config: dict[str, Any], continues: bool) -> Tracker:
        settings = {
            "project_name": self.project_name,
            "experiment_name": name,
            "tags": tags,
            "experiment_key": self._run_key,
            "config": config,
        }
        return Tracker(self.kind, settings, online=self._online)
