"""Plots of networks and runs. Matplotlib is imported when the first one is made.

Every plot is a matplotlib ``Figure``: ``figure.savefig(path)`` writes it, a notebook shows it.
"""

from velora_sb3.plotting.actions import action_histogram
from velora_sb3.plotting.episode_trace import EpisodeTrace, trace_episode
from velora_sb3.plotting.hidden_state_trace import hidden_state_trace
from velora_sb3.plotting.learning_curve import learning_curve
from velora_sb3.plotting.learning_curves import learning_curves
from velora_sb3.plotting.read_runs import read_runs
from velora_sb3.plotting.time_constants import time_constants
from velora_sb3.plotting.wiring_graph import wiring_graph

__all__ = [
    "EpisodeTrace",
    "action_histogram",
    "hidden_state_trace",
    "learning_curve",
    "learning_curves",
    "read_runs",
    "time_constants",
    "trace_episode",
    "wiring_graph",
]
