"""A learning rate that changes while a model learns."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from stable_baselines3.common.callbacks import EventCallback

from velora_sb3._validation import check_integer, check_number
from velora_sb3.callbacks.base.callback import VeloraCallback

# What each schedule can be told, beside initial_lr.
SETTINGS = {
    "linear": {"final_lr", "timesteps"},
    "cosine": {"final_lr", "timesteps"},
    "exponential": {"final_lr", "decay_rate", "every_n_timesteps"},
    "step": {"final_lr", "decay_rate", "every_n_timesteps"},
}


class LearningRateScheduler(VeloraCallback):
    r"""Sets the learning rate of every optimizer that SB3 steps: of actor, critic and entropy coefficient alike.

    With the timesteps :math:`t`, from :math:`\eta_0` = ``initial_lr`` to :math:`\eta_1` = ``final_lr``:

    - ``"linear"``: :math:`\eta_0 + (\eta_1 - \eta_0)\, t / T`, and :math:`\eta_1` after :math:`T`;
    - ``"cosine"``: :math:`\eta_1 + \tfrac{1}{2} (\eta_0 - \eta_1) (1 + \cos(\pi t / T))`, likewise;
    - ``"exponential"``: :math:`\eta_0\, d^{t / n}`, but never below :math:`\eta_1`;
    - ``"step"``: :math:`\eta_0\, d^{\lfloor t / n \rfloor}`, likewise;
    - a function: of SB3's remaining progress, which goes from 1 to 0 during ``learn()``.

    :math:`T` is ``timesteps``, :math:`d` ``decay_rate``, :math:`n` ``every_n_timesteps``. The rate is a function of
    ``num_timesteps`` alone, so a resumed run has the rates of one that was never stopped. SB3 asks for it before each
    update and logs it as ``train/learning_rate``.

    While ``learn()`` runs, the callback stands in for ``model.lr_schedule``: SB3 sets the optimizers' rates from there
    at every update, so nothing else would last. Afterwards the model has its own schedule again.

    Args:
        schedule: ``"linear"``, ``"cosine"``, ``"exponential"``, ``"step"``, or a function such as SB3's
            ``LinearSchedule``.
        initial_lr: The rate at timestep 0; None for the model's own.
        final_lr: The rate at the end of ``"linear"`` and ``"cosine"``, the lowest of the others; 0 if not given.
        timesteps: How long ``"linear"`` and ``"cosine"`` take; None for as long as ``learn()``.
        decay_rate: What ``"exponential"`` and ``"step"`` multiply the rate by; 0.95 if not given.
        every_n_timesteps: How often they do; 10,000 if not given.
        verbose: 0 for silence, 1 to print what it does.

    Raises:
        ValueError: If an argument is out of its range, or has no meaning for the schedule; when training starts, if
            it is the child of an event, or not the only one; in training, if a function gives no rate.
    """

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
        if not callable(schedule) and (not isinstance(schedule, str) or schedule not in SETTINGS):
            raise ValueError(f"schedule must be one of {', '.join(SETTINGS)}, or a function, got {schedule!r}")
        self.schedule = schedule
        given = {
            "initial_lr": None if initial_lr is None else check_number("initial_lr", initial_lr, above=0),
            "final_lr": None if final_lr is None else check_number("final_lr", final_lr, least=0),
            "timesteps": None if timesteps is None else check_integer("timesteps", timesteps),
            "decay_rate": None if decay_rate is None else check_number("decay_rate", decay_rate, above=0, most=1),
            "every_n_timesteps": None
            if every_n_timesteps is None
            else check_integer("every_n_timesteps", every_n_timesteps),
        }
        self._settings = {name: value for name, value in given.items() if value is not None}
        understood = {"initial_lr"} | SETTINGS[schedule] if isinstance(schedule, str) else set()
        if useless := sorted(set(self._settings) - understood):
            what = (
                f"the schedule {schedule!r}" if isinstance(schedule, str) else "a function, which gives the rate itself"
            )
            raise ValueError(f"{', '.join(useless)} means nothing to {what}: leave it out")
        self._acting: _ActingSchedule | None = None

    def config(self) -> tuple[str, dict[str, Any]]:
        """Name and settings."""
        schedule = self.schedule if isinstance(self.schedule, str) else repr(self.schedule)
        return type(self).__name__, {"schedule": schedule, **self._settings}

    def learning_rate(self, timestep: int) -> float:
        """The rate that the running ``learn()`` has at a timestep.

        Args:
            timestep: ``num_timesteps``.

        Returns:
            The rate.

        Raises:
            RuntimeError: Outside of ``learn()``.
        """
        if self._acting is None:
            raise RuntimeError("the rate is known once training has started")
        return self._acting.at(timestep)

    def _init_callback(self) -> None:
        if isinstance(self.parent, EventCallback):
            raise ValueError(
                "LearningRateScheduler holds for the whole of learn(): put it in the list of callbacks for learn(), "
                f"not in {type(self.parent).__name__}"
            )

    def _on_start(self) -> None:
        if any(isinstance(other, LearningRateScheduler) and other is not self for other in self.siblings()):
            raise ValueError("two callbacks set the learning rate: leave one LearningRateScheduler in the list")
        own: Any = self.model.lr_schedule
        if isinstance(own, _ActingSchedule):  # of a run that was cut short
            own = own.own
        settings = {"initial_lr": own(1.0), **self._settings}
        self._acting = _ActingSchedule(self.schedule, settings, self.model._total_timesteps, own)
        self._acting.at(self.model.num_timesteps)  # a function that gives no rate should not wait for the first update
        self.model.lr_schedule = self._acting

    def _on_end(self) -> None:
        if self._acting is not None and self.model.lr_schedule is self._acting:
            self.model.lr_schedule = self._acting.own


class _ActingSchedule:
    """What SB3 calls. It knows neither model nor callback, so that a model can be saved with it."""

    def __init__(self, schedule: Any, settings: dict[str, Any], total: int, own: Any) -> None:
        self.schedule, self.settings, self.total, self.own = schedule, settings, max(total, 1), own

    def __call__(self, progress_remaining: float) -> float:
        return self.at(round((1.0 - progress_remaining) * self.total))

    def at(self, timestep: int) -> float:
        """The rate at a timestep."""
        if isinstance(self.schedule, str):
            return _named(self.schedule, timestep, self.total, **self.settings)
        # The last rollout of PPO may end behind the total: SB3's progress is negative then.
        remaining = min(max(1.0 - timestep / self.total, 0.0), 1.0)
        rate: object = self.schedule(remaining)
        try:
            plain = float(rate)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            plain = math.nan
        if not (math.isfinite(plain) and plain >= 0):
            raise ValueError(
                f"schedule must give a learning rate of at least 0, got {rate!r} at the remaining progress "
                f"{remaining:g}"
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
