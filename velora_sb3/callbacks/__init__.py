"""Callbacks for any SB3 model, one to a file."""

from velora_sb3.callbacks.base import VeloraCallback
from velora_sb3.callbacks.collection import CallbackCollection
from velora_sb3.callbacks.comet import CometAnalytics
from velora_sb3.callbacks.early_stopping import EarlyStopping
from velora_sb3.callbacks.learning_rate_monitor import LearningRateMonitor
from velora_sb3.callbacks.log_gradients import LogGradients
from velora_sb3.callbacks.log_metrics import LogMetrics
from velora_sb3.callbacks.log_parameters import LogParameters
from velora_sb3.callbacks.progress_bar import ProgressBar
from velora_sb3.callbacks.record_videos import RecordVideos
from velora_sb3.callbacks.save_checkpoints import SaveCheckpoints
from velora_sb3.callbacks.stop_on_plateau import StopOnPlateau
from velora_sb3.callbacks.wandb import WandbAnalytics

__all__ = [
    "CallbackCollection",
    "CometAnalytics",
    "EarlyStopping",
    "LearningRateMonitor",
    "LogGradients",
    "LogMetrics",
    "LogParameters",
    "ProgressBar",
    "RecordVideos",
    "SaveCheckpoints",
    "StopOnPlateau",
    "VeloraCallback",
    "WandbAnalytics",
]
