"""What a policy does: statistics of the actions that are executed."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sb3_contrib import ARS
from stable_baselines3.common.callbacks import EventCallback

from velora_sb3._optional import install_line, missing_modules
from velora_sb3.callbacks.action_statistics import ActionStatistics
from velora_sb3.callbacks.base.callback import VeloraCallback
from velora_sb3.callbacks.base.triggers import EveryTimesteps


class ActionAnalysis(VeloraCallback):
    """Logs statistics of the actions of training, over all environments, since the last time.

    The actions are those that the environments got: with noise, clipped and scaled to the action space. Under
    ``actions/`` SB3's logger gets

    - for a ``Box`` of each dimension ``<name>_mean``, ``_std``, ``_min``, ``_max`` and ``_at_bounds``, the share of
      steps at a bound or within a thousandth of the range of it; over all dimensions ``magnitude``, the mean size,
      ``zeros``, the share of exact zeros, and ``at_bounds``;
    - for ``Discrete`` the share of each choice, ``<name>_share``, and the ``entropy`` of the shares in nats; for
      ``MultiDiscrete`` and ``MultiBinary`` both of each dimension, ``<name>_is_<choice>_share``.

    With more than 32 dimensions or choices only the numbers over all are logged.

    ARS shows callbacks no actions; there it warns and logs nothing.

    Args:
        every_n_timesteps: Timesteps between two logs.
        names: Of the dimensions, or with ``Discrete`` of the choices; None for their numbers.
        histogram: A picture of how often which actions were taken since the log before the last one, drawn at the
            end: ``.png``, ``.svg`` or ``.pdf``; None for none.
        verbose: 0 for silence, 1 to print a line at each log.

    Attributes:
        latest: What was logged last, by name; empty before.

    Raises:
        ImportError: If a histogram is wanted and matplotlib is missing.
        ValueError: If the period is below 1, names or histogram are of the wrong form; when training starts, if the
            names are too few or too many, or the callback is the child of an event.
    """

    def __init__(
        self,
        every_n_timesteps: int = 1_000,
        *,
        names: Sequence[str] | None = None,
        histogram: str | Path | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(verbose)
        self._every = EveryTimesteps(every_n_timesteps)
        if names is not None and (isinstance(names, str) or len(set(names)) != len(names)):
            raise ValueError(f"names must be a list in which each is another, got {names!r}")
        if histogram is not None and Path(histogram).suffix not in (".png", ".svg", ".pdf"):
            raise ValueError(f"histogram must be a file ending with .png, .svg or .pdf, got {str(histogram)!r}")
        if histogram is not None and (missing := missing_modules("plot")):
            raise ImportError(f"a histogram of actions needs {', '.join(missing)}: {install_line('plot')}")
        self.names = None if names is None else [str(name) for name in names]
        self.histogram = None if histogram is None else Path(histogram)
        self.latest: dict[str, float] = {}
        self._now: ActionStatistics | None = None
        self._before: ActionStatistics | None = None  # of the last log
        self._stored: dict[str, Any] | None = None

    def config(self) -> tuple[str, dict[str, Any]]:
        """Name and settings."""
        return type(self).__name__, {
            "every_n_timesteps": self._every.period,
            "names": self.names,
            "histogram": None if self.histogram is None else str(self.histogram),
        }

    def state_dict(self) -> dict[str, Any]:
        """Adds the sums since the last log, and those before."""
        sums = [None if part is None else part.state_dict() for part in (self._now, self._before)]
        return {**super().state_dict(), "sums": sums, "latest": dict(self.latest)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        super().load_state_dict(state)
        self._stored, self.latest = state, dict(state["latest"])

    def _init_callback(self) -> None:
        if isinstance(self.parent, EventCallback):
            raise ValueError(
                "ActionAnalysis has to see every step of training: put it in the list of callbacks for learn(), not in "
                f"{type(self.parent).__name__}"
            )

    def _on_start(self) -> None:
        if isinstance(self.model, ARS):
            warnings.warn("ARS shows callbacks no actions: ActionAnalysis logs nothing", stacklevel=2)
        self._every.start(self.num_timesteps)
        if self._stored is not None:
            self._now, self._before = (
                None if sums is None else self._statistics(sums) for sums in self._stored["sums"]
            )
            self._stored = None
        elif self.is_new_run:
            self._now, self._before, self.latest = None, None, {}
        self._now = self._statistics() if self._now is None else self._now

    def _on_every_step(self) -> bool:
        # On-policy algorithms keep what the policy said in ``actions`` and execute ``clipped_actions``.
        actions = self.locals.get("clipped_actions", self.locals.get("actions"))
        if self._now is not None and actions is not None:
            self._now.take(actions)
        if self._every.crossed(self.num_timesteps):
            self._log()
        return True

    def _on_end(self) -> None:
        if self.histogram is None or self._now is None:
            return
        shown = self._statistics()
        for part in (self._before, self._now):
            if part is not None:
                shown.add(part)
        if shown.count:
            self._draw(shown, self.histogram)

    def _statistics(self, sums: dict[str, Any] | None = None) -> ActionStatistics:
        made = ActionStatistics(self.training_env.action_space, self.names)
        if sums is not None:
            made.load_state_dict(sums)
        return made

    def _log(self) -> None:
        if self._now is None or not self._now.count:
            return
        self.latest = self._now.summary()
        for name, value in self.latest.items():
            self.logger.record(f"actions/{name}", value)
        self._before, self._now = self._now, self._statistics()
        if self.verbose >= 1:
            overall = {
                name: self.latest[name]
                for name in ("magnitude", "zeros", "at_bounds", "entropy")
                if name in self.latest
            }
            told = ", ".join(f"{name} {value:.4g}" for name, value in overall.items())
            print(f"ActionAnalysis: {told} over {self._before.count} actions at {self.num_timesteps} timesteps")

    def _draw(self, shown: ActionStatistics, path: Path) -> None:
        from velora_sb3.plotting.action_shares import plot_action_shares

        choices = shown.names if len(shown.histograms()) == 1 and not shown.continuous else None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            title = f"{shown.count:,} actions until timestep {self.num_timesteps:,}"
            plot_action_shares(path, shown.histograms(), title, choices=choices)
        except Exception as error:  # the trained model is worth more than its picture
            reason = f"{type(error).__name__}: {error}"
            warnings.warn(f"ActionAnalysis could not write {path} ({reason})", RuntimeWarning, stacklevel=2)
