"""Statistics of the actions that the environments receive."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sb3_contrib import ARS

from velora_sb3._optional import require
from velora_sb3._signals import unmasked_signals
from velora_sb3.callbacks.action_statistics import ActionStatistics
from velora_sb3.callbacks.base.callback import VeloraCallback
from velora_sb3.callbacks.base.tables import excluded
from velora_sb3.callbacks.base.triggers import EveryTimesteps


class ActionAnalysis(VeloraCallback):
    """Logs statistics of the training actions over all environments, once per period.

    The actions are those that the environments receive: with noise, clipped and scaled to the action space. SB3's
    logger receives, under ``actions/``:

    - for ``Box``, ``<name>_mean``, ``_std``, ``_min``, ``_max`` and ``_at_bounds`` of each dimension, the last being
      the share of steps within a thousandth of the range of a bound; over all dimensions ``magnitude``, the mean
      absolute value, ``zeros``, the share of exact zeros, and ``at_bounds``;
    - for ``Discrete``, the share of each choice, ``<name>_share``, and the ``entropy`` of the shares in nats; for
      ``MultiDiscrete`` and ``MultiBinary``, both for each dimension, as ``<name>_is_<choice>_share`` and
      ``<name>_entropy``.

    Keys that are too long for SB3's tables are left out of them. With more than 32 dimensions or choices, only the
    values over all of them are logged. ARS does not report actions to callbacks: the callback warns and logs nothing.

    Args:
        every_n_timesteps: Period in timesteps, over all environments.
        names: Names of the dimensions, or of the choices of ``Discrete``; None for their numbers.
        histogram: File for a plot of the actions of the last two periods, written at the end of training: ``.png``,
            ``.svg`` or ``.pdf``; None for no plot.
        verbose: 0 for no output, 1 to print a line per period.

    Attributes:
        latest: The values that were logged last, by name.

    Raises:
        ImportError: If ``histogram`` is given and matplotlib is missing.
        ValueError: If an argument is out of range; when training starts, if the number of names does not fit the action
            space, or the callback is the child of an event.
    """

    _needs_every_step = True

    def __init__(
        self,
        every_n_timesteps: int = 1_000,
        *,
        names: Sequence[str] | None = None,
        histogram: str | Path | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(verbose)
        self._trigger: EveryTimesteps = EveryTimesteps(every_n_timesteps)
        if names is not None and (isinstance(names, str) or len(set(names)) != len(names)):
            raise ValueError(f"names must be a list of distinct strings, got {names!r}")
        if histogram is not None and Path(histogram).suffix not in (".png", ".svg", ".pdf"):
            raise ValueError(f"histogram must be a .png, .svg or .pdf file, got {str(histogram)!r}")
        if histogram is not None:
            require("plot", "histogram=")
        self.names = None if names is None else [str(name) for name in names]
        self.histogram = None if histogram is None else Path(histogram)
        self._plot = None if histogram is None else Path(histogram).absolute()  # the program may change its directory
        self.latest: dict[str, float] = {}
        self._now: ActionStatistics | None = None
        self._before: ActionStatistics | None = None  # of the period before
        self._stored: dict[str, Any] | None = None

    def config(self) -> tuple[str, dict[str, Any]]:
        """Name and settings."""
        return type(self).__name__, {
            "every_n_timesteps": self._trigger.period,
            "names": self.names,
            "histogram": None if self.histogram is None else str(self.histogram),
        }

    def state_dict(self) -> dict[str, Any]:
        """Adds the sums of this period and the one before."""
        sums = [None if part is None else part.state_dict() for part in (self._now, self._before)]
        return {**super().state_dict(), "sums": sums, "latest": dict(self.latest)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        super().load_state_dict(state)
        self._stored, self.latest = state, dict(state["latest"])

    def _on_start(self) -> None:
        if isinstance(self.model, ARS):
            warnings.warn("ARS does not report actions to callbacks: ActionAnalysis logs nothing", stacklevel=2)
        if self._stored is not None:
            self._now, self._before = (
                None if sums is None else self._statistics(sums) for sums in self._stored["sums"]
            )
            self._stored = None
        elif self.is_new_run:
            self._now, self._before, self.latest = None, None, {}
        self._now = self._statistics() if self._now is None else self._now

    def _on_every_step(self) -> bool:
        # On-policy algorithms execute ``clipped_actions``; their ``actions`` are the policy's output.
        actions = self.locals.get("clipped_actions", self.locals.get("actions"))
        if self._now is not None and actions is not None:
            self._now.add(actions)
        if self._trigger.crossed(self.num_timesteps):
            self._log()
        return True

    def _on_end(self) -> None:
        if self._plot is None or self._now is None:
            return
        shown = self._statistics()
        for part in (self._before, self._now):
            if part is not None:
                shown.merge(part)
        if shown.count:
            self._draw(shown, self._plot)

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
            self.logger.record(key := f"actions/{name}", value, exclude=excluded(key))
        self._before, self._now = self._now, self._statistics()
        if self.verbose >= 1:
            overall = {
                name: self.latest[name]
                for name in ("magnitude", "zeros", "at_bounds", "entropy")
                if name in self.latest
            }
            values = ", ".join(f"{name} {value:.4g}" for name, value in overall.items())
            print(f"ActionAnalysis: {values} over {self._before.count} actions at {self.num_timesteps} timesteps")

    def _draw(self, shown: ActionStatistics, path: Path) -> None:
        from velora_sb3.plotting.actions import draw_shares
        from velora_sb3.plotting.figures import save_figure

        title = f"{shown.count:,} actions up to timestep {self.num_timesteps:,}"
        try:
            with unmasked_signals():
                path.parent.mkdir(parents=True, exist_ok=True)
                figure = draw_shares(shown.histograms(), title, continuous=shown.continuous, choices=shown.choice_names)
                save_figure(figure, path)
        except Exception as error:  # the trained model is worth more than its plot
            reason = f"{type(error).__name__}: {error}"
            warnings.warn(f"ActionAnalysis could not write {path} ({reason})", RuntimeWarning, stacklevel=2)
