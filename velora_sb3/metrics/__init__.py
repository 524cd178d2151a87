"""Episodes of training into an SQLite file, and out of it as data frames."""

from velora_sb3.metrics.load import load_metrics, load_runs
from velora_sb3.metrics.record_metrics import RecordMetrics

__all__ = ["RecordMetrics", "load_metrics", "load_runs"]
