"""Stop training when a logged metric no longer improves."""

from __future__ import annotations

import math
import warnings
from collections import deque
from typing import Any

from sb3_contrib import ARS
from stable_baselines3.common.callbacks import EvalCallback

from velora_sb3._validation import check_choice, check_integer, check_number
from velora_sb3.callbacks.base.callback import VeloraCallback
from velora_sb3.callbacks.base.logged_values import LoggedValues, numbers_in


class StopOnPlateau(VeloraCallback):
    """Stops training after ``patience`` consecutive rows of SB3's log in which a metric does not improve.

    It judges each row that holds the key. SB3 logs between rollouts, so training stops at the next step. NaN and
    infinity never count as an improvement.

    ARS ignores the return value of callbacks: there it warns and only reports.

    Args:
        monitor: The key in SB3's logger, such as ``eval/mean_reward`` or ``train/loss``.
        mode: ``"max"`` if higher is better, ``"min"`` if lower is.
        patience: Number of consecutive rows without improvement.
        min_delta: Smallest change that counts as an improvement.
        wait: Number of rows without the key after which it raises. Once other keys of its group (``eval/...``) have
            appeared, only rows with keys of the group count. Rows from before the first episode has ended do not count
            for ``rollout/...``, nor those from before the first update for ``train/...``, nor, with an
            ``EvalCallback``, those from before the first evaluation for ``eval/...``.
        verbose: 0 for no output, 1 to print what it does.

    Attributes:
        best: The best value so far; None before the first.
        failures: Number of consecutive rows without improvement.
        stopped_early: Whether it has stopped training.
        reason: Why it stopped, in a sentence; None before.

    Raises:
        ValueError: If an argument is out of range; in training, if the key is missing in ``wait`` rows.
    """

    def __init__(
        self,
        monitor: str,
        mode: str = "max",
        patience: int = 5,
        min_delta: float = 0.0,
        *,
        wait: int = 10,
        verbose: int = 0,
    ) -> None:
        super().__init__(verbose)
        if not isinstance(monitor, str) or not monitor:
            raise ValueError(f"monitor must be a key of SB3's logger, such as 'eval/mean_reward', got {monitor!r}")
        self.monitor, self.mode = monitor, check_choice("mode", mode, ("min", "max"))
        self.patience, self.wait = check_integer("patience", patience), check_integer("wait", wait)
        self.min_delta = check_number("min_delta", min_delta, least=0)
        self.best: float | None = None
        self.failures = 0
        self.stopped_early = False
        self.reason: str | None = None
        self._log = _Rows()
        self._missed, self._has_come, self._group_has_come = 0, False, False

    def config(self) -> tuple[str, dict[str, Any]]:
        """Name and settings."""
        names = ("monitor", "mode", "patience", "min_delta", "wait")
        return type(self).__name__, {name: getattr(self, name) for name in names}

    def info(self) -> str:
        """When it stops training."""
        better, rows = "higher" if self.mode == "max" else "lower", "row" if self.patience == 1 else "rows"
        return f"StopOnPlateau: stops after {self.patience} {rows} without a {better} {self.monitor}"

    def state_dict(self) -> dict[str, Any]:
        """Adds the best value, the rows without improvement, and those that are not judged yet."""
        own = {name: getattr(self, name) for name in ("best", "failures", "stopped_early", "reason")}
        search = {"has_come": self._has_come, "group_has_come": self._group_has_come, "missed": self._missed}
        return {**super().state_dict(), **own, **search, "rows": [list(row) for row in self._log.rows]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state."""
        super().load_state_dict(state)
        self.best, self.failures = state["best"], int(state["failures"])
        self.stopped_early, self.reason = bool(state["stopped_early"]), state["reason"]
        self._has_come, self._group_has_come = bool(state["has_come"]), bool(state.get("group_has_come", False))
        self._missed = int(state.get("missed", 0))
        self._log.rows = deque((int(timestep), dict(row)) for timestep, row in state.get("rows", ()))

    def _on_start(self) -> None:
        if self.is_new_run:
            self.best, self._log = None, _Rows()
            self._missed, self._has_come, self._group_has_come = 0, False, False
        if self.is_new_run or self.reason is not None:  # learn() after a stop continues on purpose
            self.failures, self.stopped_early, self.reason = 0, False, None
            self._log.rows.clear()
        if isinstance(self.model, ARS):
            warnings.warn("ARS cannot be stopped by a callback: StopOnPlateau only reports", stacklevel=2)
        self._log.follow(self.logger)

    def _on_every_step(self) -> bool:
        while self._log.rows:
            timestep, row = self._log.rows.popleft()
            if self.reason is not None:
                continue
            if self.monitor in row:
                self._has_come = True
                self._judge(row[self.monitor], timestep)
            elif not self._has_come:
                self._miss(row)
        return self.reason is None

    def _on_end(self) -> None:
        self._log.leave()
        came_last = self._log.get(self.monitor) is not None  # in a row after the last step
        if not (self._has_come or came_last or self.interrupted):
            warnings.warn(f"StopOnPlateau never saw its metric: {self._log.unknown(self.monitor)}", stacklevel=2)

    def _judge(self, value: float, timestep: int) -> None:
        sign = 1.0 if self.mode == "max" else -1.0
        if math.isfinite(value) and (self.best is None or sign * (value - self.best) > self.min_delta):
            self.best, self.failures = value, 0
            return
        self.failures += 1
        if self.failures < self.patience:
            return
        times = "once" if self.patience == 1 else f"{self.patience} times in a row"
        best = "no value was finite" if self.best is None else f"the best was {self.best:g}"
        self.reason = f"{self.monitor} did not improve {times}: {value:g} at timestep {timestep}, {best}"
        self.stopped_early = not isinstance(self.model, ARS)
        if self.verbose >= 1:
            print(f"StopOnPlateau: {self.reason}")

    def _miss(self, row: dict[str, float]) -> None:
        """Count a row without the key, which has not appeared yet."""
        group = self.monitor.rpartition("/")[0] + "/"
        has_group = any(key.startswith(group) for key in row)
        if has_group and not self._group_has_come:
            self._missed, self._group_has_come = 0, True
        if has_group or not (self._group_has_come or self._is_early(group)):
            self._missed += 1
        if self._missed >= self.wait:
            raise ValueError(f"StopOnPlateau found no metric in {self._missed} rows: {self._log.unknown(self.monitor)}")

    def _is_early(self, group: str) -> bool:
        """Whether the keys of a group of SB3's are still to come."""
        if group == "rollout/":
            return not (self.model.ep_info_buffer or self.episodes.finished)
        if group == "train/":
            return self.model._n_updates == 0
        return group == "eval/" and any(isinstance(one, EvalCallback) for one in self.siblings())


class _Rows(LoggedValues):
    """The rows that are not judged yet."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: deque[tuple[int, dict[str, float]]] = deque()

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        super().write(key_values, key_excluded, step)
        self.rows.append((step, numbers_in(key_values)))
