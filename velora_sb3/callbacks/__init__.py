"""Callbacks for any SB3 model, one to a file."""

from velora_sb3.callbacks.action_analysis import ActionAnalysis
from velora_sb3.callbacks.base.callback import VeloraCallback
from velora_sb3.callbacks.checkpointing.save_checkpoints import SaveCheckpoints
from velora_sb3.callbacks.collection.collection import CallbackCollection
from velora_sb3.callbacks.early_stopping import EarlyStopping
from velora_sb3.callbacks.hooks.episode_callback import EpisodeCallback
from velora_sb3.callbacks.hooks.eval_callback import EvalCallback, MaskableEvalCallback
from velora_sb3.callbacks.hooks.lambda_callback import LambdaCallback
from velora_sb3.callbacks.hooks.metrics_logger import MetricsLogger
from velora_sb3.callbacks.learning_rate_monitor import LearningRateMonitor
from velora_sb3.callbacks.learning_rate_scheduler import LearningRateScheduler
from velora_sb3.callbacks.log_metrics import LogMetrics
from velora_sb3.callbacks.plots.live_monitor import LiveMonitor
from velora_sb3.callbacks.plots.performance_plots import PerformancePlots
from velora_sb3.callbacks.progress_bar import ProgressBar
from velora_sb3.callbacks.record_metrics import RecordMetrics
from velora_sb3.callbacks.record_videos import RecordVideos
from velora_sb3.callbacks.resource_monitor import ResourceMonitor
from velora_sb3.callbacks.stop_on_plateau import StopOnPlateau
from velora_sb3.callbacks.tensors.log_gradients import LogGradients
from velora_sb3.callbacks.tensors.log_parameters import LogParameters
from velora_sb3.callbacks.trackers.comet import CometAnalytics
from velora_sb3.callbacks.trackers.wandb import WandbAnalytics

__all__ = [
    "ActionAnalysis",
    "CallbackCollection",
    "CometAnalytics",
    "EarlyStopping",
    "EpisodeCallback",
    "EvalCallback",
    "LambdaCallback",
    "LearningRateMonitor",
    "LearningRateScheduler",
    "LiveMonitor",
    "LogGradients",
    "LogMetrics",
    "LogParameters",
    "MaskableEvalCallback",
    "MetricsLogger",
    "PerformancePlots",
    "ProgressBar",
    "RecordMetrics",
    "RecordVideos",
    "ResourceMonitor",
    "SaveCheckpoints",
    "StopOnPlateau",
    "VeloraCallback",
    "WandbAnalytics",
]
