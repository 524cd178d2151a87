"""The SQLite file that :class:`velora_sb3.callbacks.RecordMetrics` writes, and its data frames."""

from typing import Any

from velora_sb3.metrics.load import load_metrics, load_runs

__all__ = ["RecordMetrics", "load_metrics", "load_runs"]


def __getattr__(name: str) -> Any:
    if name == "RecordMetrics":  # where it was; looked up late, as callbacks import from here
        from velora_sb3.callbacks import RecordMetrics

        return RecordMetrics
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
