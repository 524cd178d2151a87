"""A learning rate that changes during training."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from velora_sb3._validation import check_number, check_timesteps
from velora_sb3.callbacks.base.callback import VeloraCallback

# The settings of each schedule, besides initial_lr.
SCHEDULES = {
    "linear": {"final_lr", "timesteps"},
    "cosine": {"final_lr", "timesteps"},
    "exponential": {"final_lr", "decay_rate", "every_n_timesteps"},
    "step": {"final_lr", "decay_rate", "every_n_timesteps"},
}


class LearningRateScheduler(VeloraCallback):
    r"""Sets the learning rate of every optimizer: of the actor, the critic and the entropy coefficient alike.

    At timestep :math:`t`, with :math:`\eta_0` = ``initial_lr`` and :math:`\eta_1` = ``final_lr``:

    - ``"linear"``: :math:`\eta_0 + (\eta_1 - \eta_0)\, t / T`, and :math:`\eta_1` after :math:`T`;
    - ``"cosine"``: :math:`\eta_1 + \tfrac{1}{2} (\eta_0 - \eta_1) (1 + \cos(\pi t / T))`, likewise;
    - ``"exponential"``: :math:`\eta_0\, d^{t / n}`, but never below :math:`\eta_1`;
    - ``"step"``: :math:`\eta_0\, d^{\lfloor t / n \rfloor}`, likewise;
    - a function of SB3's remaining progress, which goes from 1 to 0 during ``learn()``.

    :math:`T` is ``timesteps``, :math:`d` ``decay_rate``, :math:`n` ``every_n_timesteps``. The rate depends on
    ``num_timesteps`` only, so a resumed run has the same rates as an uninterrupted one. SB3 reads it before each update
    and logs it as ``train/learning_rate``.

    During ``learn()``, the schedule replaces ``model.lr_schedule``, as SB3 sets the optimizers' rates from it at every
    update. Afterwards the model's own schedule is restored.

    Args:
        schedule: ``"linear"``, ``"cosine"``, ``"exponential"``, ``"step"``, or a function such as SB3's
            ``LinearSchedule``.
        initial_lr: The rate at timestep 0; None for the model's own.
        final_lr: The final rate of ``"linear"`` and ``"cosine"``, the lower bound of the others; None for 0.
        timesteps: Duration of ``"linear"`` and ``"cosine"``; None for that of ``learn()``.
        decay_rate: Factor of ``"exponential"`` and ``"step"``; None for 0.95.
        every_n_timesteps: Timesteps over which the rate decays by that factor; None for 10,000.
        verbose: 0 for no output, 1 to print the settings.

    Raises:
        ValueError: If an argument is out of range, or the schedule does not use it; when training starts, if the
            callback is the child of an event, or there is another one; in training, if a function returns no rate.
    """

    _needs_every_step = True

    def __init__(
        self,
        schedule: str | Callable[[float], float],
        *,
        initial_lr: float | None = None,
        final_lr: float | None = None,
        timesteps: int | None = None,
        decay_rate: float | None = None,
        every_n_timesteps: int | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(verbose)
        if not callable(schedule) and (not isinstance(schedule, str) or schedule not in SCHEDULES):
            raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, or a function, got {schedule!r}")
        self.schedule = schedule
        self._settings: dict[str, Any] = {}
        if initial_lr is not None:
            self._settings["initial_lr"] = check_number("initial_lr", initial_lr, above=0)
        if final_lr is not None:
            self._settings["final_lr"] = check_number("final_lr", final_lr, least=0)
        if timesteps is not None:
            self._settings["timesteps"] = check_timesteps("timesteps", timesteps)
        if decay_rate is not None:
            self._settings["decay_rate"] = check_number("decay_rate", decay_rate, above=0, most=1)
        if every_n_timesteps is not None:
            self._settings["every_n_timesteps"] = check_timesteps("every_n_timesteps", every_n_timesteps)
        used = {"initial_lr"} | SCHEDULES[schedule] if isinstance(schedule, str) else set()
        if unused := sorted(set(self._settings) - used):
            what = f"schedule {schedule!r}" if isinstance(schedule, str) else "a function as schedule"
            raise ValueError(f"{what} does not use {', '.join(unused)}: remove it")
        self._acting: _ActingSchedule | None = None

    def config(self) -> tuple[str, dict[str, Any]]:
        """Name and settings."""
        schedule = self.schedule if isinstance(self.schedule, str) else repr(self.schedule)
        return type(self).__name__, {"schedule": schedule, **self._settings}

    def learning_rate(self, timestep: int) -> float:
        """The learning rate at a timestep of the running ``learn()``.

        Args:
            timestep: A value of ``num_timesteps``.

        Returns:
            The rate.

        Raises:
            RuntimeError: Before training has started.
        """
        if self._acting is None:
            raise RuntimeError("the learning rate is only known once training has started")
        return self._acting.at(timestep)

    def _on_start(self) -> None:
        if any(isinstance(other, LearningRateScheduler) and other is not self for other in self.siblings()):
            raise ValueError("two callbacks set the learning rate: pass only one LearningRateScheduler")
        own: Any = self.model.lr_schedule
        if isinstance(own, _ActingSchedule):  # of an interrupted run
            own = own.own
        settings = {"initial_lr": own(1.0), **self._settings}
        self._acting = _ActingSchedule(self.schedule, settings, self.model._total_timesteps, own)
        self._acting.at(self.model.num_timesteps)  # a function that returns no rate fails now, not at the first update
        self.model.lr_schedule = self._acting

    def _on_end(self) -> None:
        if self._acting is not None and self.model.lr_schedule is self._acting:
            self.model.lr_schedule = self._acting.own


class _ActingSchedule:
    """The schedule that SB3 calls; it has no reference to model or callback, so a model can be saved with it."""

    def __init__(self, schedule: Any, settings: dict[str, Any], total: int, own: Any) -> None:
        self.schedule, self.settings, self.total, self.own = schedule, settings, max(total, 1), own

    def __call__(self, progress_remaining: float) -> float:
        return self.at(round((1.0 - progress_remaining) * self.total))

    def at(self, timestep: int) -> float:
        """The rate at a timestep."""
        if isinstance(self.schedule, str):
            return _named(self.schedule, timestep, self.total, **self.settings)
        # PPO's last rollout may end beyond the total, where SB3's progress is negative.
        remaining = min(max(1.0 - timestep / self.total, 0.0), 1.0)
        rate: object = self.schedule(remaining)
        try:
            plain = float(rate)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            plain = math.nan
        if not (math.isfinite(plain) and plain >= 0):
            raise ValueError(
                f"schedule must return a learning rate of at least 0, got {rate!r} at remaining progress {remaining:g}"
            )
        return plain


def _named(
    schedule: str,
    timestep: int,
    total: int,
    *,
    initial_lr: float,
    final_lr: float = 0.0,
    timesteps: int | None = None,
    decay_rate: float = 0.95,
    every_n_timesteps: int = 10_000,
) -> float:
    if schedule in ("exponential", "step"):
        periods = timestep // every_n_timesteps if schedule == "step" else timestep / every_n_timesteps
        return max(float(initial_lr * decay_rate**periods), final_lr)
    done = min(timestep / (timesteps or total), 1.0)
    left = 1.0 - done if schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
    return final_lr + (initial_lr - final_lr) * left
