"""Checkpoints that survive a crash, resume bit for bit, and never run code."""

from velora_sb3.checkpoints.directories import atomic_directory, finish_saving
from velora_sb3.checkpoints.format.allow_list import register
from velora_sb3.checkpoints.format.errors import CheckpointError
from velora_sb3.checkpoints.load import load_checkpoint
from velora_sb3.checkpoints.replay_file import load_replay_buffer, save_replay_buffer
from velora_sb3.checkpoints.resume import resume_training
from velora_sb3.checkpoints.retention import (
    best_checkpoints,
    keep_best,
    keep_last,
    list_checkpoints,
    newest_checkpoint,
)
from velora_sb3.checkpoints.save import save_checkpoint, write_checkpoint

whole_directory = atomic_directory  # its name in 0.1

__all__ = [
    "CheckpointError",
    "atomic_directory",
    "best_checkpoints",
    "finish_saving",
    "keep_best",
    "keep_last",
    "list_checkpoints",
    "load_checkpoint",
    "load_replay_buffer",
    "newest_checkpoint",
    "register",
    "resume_training",
    "save_checkpoint",
    "save_replay_buffer",
    "whole_directory",
    "write_checkpoint",
]
