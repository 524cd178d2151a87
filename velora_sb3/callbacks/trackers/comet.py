"""Training in Comet."""

from __future__ import annotations

import configparser
import os
import uuid
from typing import Any

from velora_sb3.callbacks.trackers.analytics import Analytics, expand_user


class CometAnalytics(Analytics):
    """Sends training to `Comet <https://www.comet.com>`_: episodes, SB3's log, settings, videos, checkpoints.

    Args:
        project_name: Name of the project.
        experiment_name: Name of the experiment; None for ``<Algorithm>_<EnvName>_<total steps>``. If None, a continued
            experiment keeps its name.
        tags: Tags of the experiment; None for the names of the algorithm and the environment. If None, a continued
            experiment keeps its tags.
        experiment_key: Key of an experiment to continue: 32 to 50 letters and digits.
        online: True to send the experiment to the server, False to write an archive for ``comet upload``, None to send
            it if there is an API key.
        checkpoints: Whether to send what a ``SaveCheckpoints`` saves.
        verbose: 0 for no output, 1 to print where the experiment is recorded.

    Raises:
        ImportError: If ``comet_ml`` is missing.
        ValueError: If ``online`` is True without an API key, or ``experiment_key`` is malformed.
        TypeError: If ``tags`` is not a list of strings.
    """

    kind = "comet"
    sign_in = "set COMET_API_KEY or run `comet login`"

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
        if online and not self._has_api_key():
            raise ValueError(f"online=True needs an API key: {self.sign_in}, or pass online=False to record to disk")
        self.project_name, self.online = project_name, online
        self._choose_mode(None if online is None else "online" if online else "offline")

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
        """Where training is recorded."""
        place = "to Comet" if self._mode == "online" else "to disk"
        return f"CometAnalytics: records project {self.project_name!r} {place}"

    def _has_api_key(self) -> bool:
        """Whether Comet will find an API key; its package is not imported to find out."""
        if os.environ.get("COMET_API_KEY"):
            return True
        path = expand_user(os.environ.get("COMET_CONFIG") or "~")
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            parser.read(path / ".comet.config" if path.is_dir() else path, encoding="utf-8")
        except (OSError, configparser.Error, UnicodeDecodeError):
            return False
        return bool(parser.get("comet", "api_key", fallback=""))

    def _new_key(self) -> str:
        return os.environ.get("COMET_EXPERIMENT_KEY") or uuid.uuid4().hex  # in Comet's own format

    def _run_settings(self, name: str | None, continues: bool) -> dict[str, Any]:
        return {"project_name": self.project_name, "experiment_name": name, "experiment_key": self._run_key}
