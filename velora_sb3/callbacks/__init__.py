"""Callbacks for any SB3 model, one to a file."""

from velora_sb3.callbacks.progress_bar import ProgressBar

__all__ = ["ProgressBar"]
