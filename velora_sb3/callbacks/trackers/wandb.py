"""Training in W&B."""

from __future__ import annotations

import os
from typing import Any

from velora_sb3.callbacks.trackers.analytics import Analytics
from velora_sb3.tracking.tracker import Tracker
from velora_sb3.tracking.wandb_run import api_key_known, new_run_id

MODES = ("online", "offline", "disabled")


class WandbAnalytics(Analytics):
    """Sends training to `Weights & Biases <https://wandb.ai>`_: episodes, SB3's log, settings, videos, checkpoints.

    Charts are drawn over ``timesteps``, which every row has.

    Args:
        project: Name of the project.
        name: Name of the run; None for ``<Algorithm>_<EnvName>_<total steps>``. A run that is continued keeps its own
            if this is None.
        tags: Its tags; None for the names of algorithm and environment, or no change if the run is continued.
        run_id: Id of a run to continue.
        mode: ``"online"`` to send it to the server, ``"offline"`` to write it to disk for ``wandb sync``,
            ``"disabled"`` for nothing. None is what ``WANDB_MODE`` says, else online if there is an API key.
        checkpoints: Whether to send what a ``SaveCheckpoints`` saves, as artifacts.
        verbose: 0 for silence, 1 to say what it does and where the run is.

    Raises:
        ImportError: If ``wandb`` is missing.
        ValueError: If the mode is unknown, or the id is empty or has characters that W&B does not take.
        TypeError: If tags are no list of strings.
    """

    kind = "wandb"

    def __init__(
        self,
        project: str,
        name: str | None = None,
        *,
        tags: list[str] | None = None,
        run_id: str | None = None,
        mode: str | None = None,
        checkpoints: bool = False,
        verbose: int = 0,
    ) -> None:
        super().__init__(name, tags, run_id, checkpoints, verbose)
        if run_id is not None and (not run_id.strip() or set(run_id) & set("/\\#?%:")):
            raise ValueError(f"run_id must not be empty and have none of / \\ # ? % :, got {run_id!r}")
        wanted = mode or os.environ.get("WANDB_MODE") or ("online" if api_key_known() else None)
        if wanted not in (*MODES, None):
            raise ValueError(f"mode must be one of {', '.join(MODES)}, got {wanted!r}")
        self.project, self.mode = project, mode
        self._mode = wanted or "offline"
        if wanted is None:
            self._note_missing_key("set WANDB_API_KEY or run `wandb login`")

    @property
    def run_id(self) -> str | None:
        """Id of the run; None before the first starts."""
        return self._run_key

    def config(self) -> tuple[str, dict[str, Any]]:
        """Name and settings."""
        return type(self).__name__, {
            "project": self.project,
            "name": self.name,
            "tags": self.tags,
            "run_id": self._given_key,
            "mode": self.mode,
            "checkpoints": self.checkpoints,
        }

    def info(self) -> str:
        """Where it records."""
        place = {"online": "at W&B", "offline": "on disk", "disabled": "nowhere"}[self._mode]
        return f"WandbAnalytics: records project {self.project!r} {place}"

    def _new_key(self) -> str:
        return new_run_id()

    def _open(
        self, name: str | None, tags: list[str] | None, config: dict[str, Any], continues: bool
    ) -> Tracker | None:
        settings = {
            "project": self.project,
            "name": name,
            "tags": tags,
            "run_id": self._run_key,
            "config": config,
            "continues": continues,
        }
        return None if self._mode == "disabled" else Tracker(self.kind, settings, online=self._mode == "online")
