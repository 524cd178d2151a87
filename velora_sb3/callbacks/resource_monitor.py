"""Memory and CPU usage of training."""

from __future__ import annotations

import gc
import warnings
from contextlib import suppress
from typing import Any

from velora_sb3._optional import require
from velora_sb3._validation import check_number
from velora_sb3.callbacks.base.callback import VeloraCallback
from velora_sb3.callbacks.base.triggers import EveryTimesteps

MB = 2**20


class ResourceMonitor(VeloraCallback):
    """Logs the memory and CPU usage of training, and warns once if a limit is reached.

    SB3's logger receives

    - ``resources/memory_mb``: resident memory of the process, in MiB;
    - ``resources/children_mb``: that of its child processes, such as the environments of ``SubprocVecEnv``; shared
      memory counts in each;
    - ``resources/cpu_percent``: CPU usage of the process since the last measurement, 100 for one core;
    - ``resources/system_memory_percent``, ``resources/system_cpu_percent``: the whole machine. In a container with a
      limit of its own, set ``limit_mb``.

    Before it warns, it collects garbage and measures again. As the child of an event it measures at each event.

    Args:
        every_n_timesteps: Period in timesteps, over all environments; it also measures at the start and at the end.
        limit_mb: Memory of the process and its children at which to warn, in MiB; None for no limit.
        system_limit_percent: Memory usage of the machine at which to warn, in percent; None for no limit.
        verbose: 0 for no output, 1 to print each measurement.

    Attributes:
        peak_mb: The highest measured memory of the process and its children, in MiB.

    Raises:
        ImportError: If psutil is missing.
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        every_n_timesteps: int = 1_000,
        *,
        limit_mb: float | None = None,
        system_limit_percent: float | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(verbose)
        self._trigger: EveryTimesteps = EveryTimesteps(every_n_timesteps)
        self.limit_mb = None if limit_mb is None else check_number("limit_mb", limit_mb, above=0)
        self.system_limit_percent = (
            None
            if system_limit_percent is None
            else check_number("system_limit_percent", system_limit_percent, above=0, most=100)
        )
        require("monitor", "ResourceMonitor")
        self.peak_mb = 0.0

    def config(self) -> tuple[str, dict[str, Any]]:
        """Name and settings."""
        return type(self).__name__, {
            "every_n_timesteps": self._trigger.period,
            "limit_mb": self.limit_mb,
            "system_limit_percent": self.system_limit_percent,
        }

    def _on_start(self) -> None:
        import psutil

        self._process, self._warned = psutil.Process(), set[str]()
        self._process.cpu_percent()  # measures since its last call
        psutil.cpu_percent()
        self._measure()

    def _on_every_step(self) -> bool:
        if self._trigger.crossed(self.num_timesteps) or self.parent is not None:
            self._measure()
        return True

    def __getstate__(self) -> dict[str, Any]:
        """Leave out this process, which cannot be pickled."""
        state = super().__getstate__()
        state.pop("_process", None)
        return state

    def _on_end(self) -> None:
        self._measure()

    def _measure(self) -> None:
        measured = self._measurement()
        if self._over(measured) - self._warned:
            gc.collect()
            measured = {**measured, **self._memory()}
        for name, value in measured.items():
            self.logger.record(f"resources/{name}", round(value, 1))
        self.peak_mb = max(self.peak_mb, _used(measured))
        if self.verbose >= 1:
            values = ", ".join(f"{name} {value:,.0f}" for name, value in measured.items())
            print(f"ResourceMonitor: {values} at {self.num_timesteps} timesteps")
        self._warn(measured)

    def _measurement(self) -> dict[str, float]:
        import psutil

        cpu = {"cpu_percent": self._process.cpu_percent(), "system_cpu_percent": psutil.cpu_percent()}
        return {**self._memory(), **cpu}

    def _memory(self) -> dict[str, float]:
        import psutil

        children = 0
        for child in self._process.children(recursive=True):
            with suppress(psutil.Error):  # it has ended, or access is denied
                children += child.memory_info().rss
        return {
            "memory_mb": self._process.memory_info().rss / MB,
            "children_mb": children / MB,
            "system_memory_percent": psutil.virtual_memory().percent,
        }

    def _over(self, measured: dict[str, float]) -> set[str]:
        """The limits that have been reached."""
        limits = {"limit_mb": _used(measured), "system_limit_percent": measured["system_memory_percent"]}
        return {name for name, value in limits.items() if (limit := getattr(self, name)) is not None and value >= limit}

    def _warn(self, measured: dict[str, float]) -> None:
        for name in sorted(self._over(measured) - self._warned):
            self._warned.add(name)
            limit = getattr(self, name)
            if name == "limit_mb":
                usage = f"training uses {_used(measured):,.0f} MiB of memory (limit_mb={limit:g})"
            else:
                percent = measured["system_memory_percent"]
                usage = f"{percent:.0f} % of the machine's memory is in use (system_limit_percent={limit:g})"
            text = f"ResourceMonitor: {usage} at {self.num_timesteps} timesteps; there will be no further warning"
            warnings.warn(text, RuntimeWarning, stacklevel=2)  # Python hides a ResourceWarning


def _used(measured: dict[str, float]) -> float:
    return measured["memory_mb"] + measured["children_mb"]
