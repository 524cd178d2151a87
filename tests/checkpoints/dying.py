"""Processes that are killed while they save: at some moment, or before a chosen call that changes the disk."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from stable_baselines3.common.callbacks import BaseCallback

from tests.checkpoints.conftest import small_model
from velora_sb3 import save_checkpoint
from velora_sb3.checkpoints import keep_last

CALLS = ("os.mkdir", "open", "os.rename", "os.remove", "os.rmdir", "os.chmod", "shutil.rmtree")

_left: int | None = None


def _audit(event, _arguments):
    global _left
    if event in CALLS and _left is not None:
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        _left -= 1


sys.addaudithook(_audit)


def dies_at_call(path: Path, model, call: int) -> bool:
    """Save in a process that is killed before one of the calls.

    Args:
        path: The checkpoint.
        model: What is saved.
        call: Which call.

    Returns:
        Whether it was killed; otherwise it had saved in fewer calls.
    """
    global _left
    child = os.fork()
    if child == 0:
        _left = call
        save_checkpoint(model, path)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


class SaveAlways(BaseCallback):
    """Saves whenever a rollout starts. Every fifth checkpoint replaces one of the same name; old ones are removed.

    Args:
        directory: Where to.
        tell: Called with the timesteps of each that was saved.
    """

    def __init__(self, directory: Path, tell: Callable[[int], object]):
        super().__init__()
        self.directory, self.tell = directory, tell

    def _on_step(self):
        return True

    def _on_rollout_start(self):
        steps = self.model.num_timesteps
        path = self.directory / ("latest" if steps % 5 == 0 else f"step_{steps}")
        save_checkpoint(self.model, path, wait=steps % 3 > 0)
        if steps % 3 == 0:
            return  # training goes on while the disk works
        keep_last(self.directory, 3)
        self.tell(steps)


def die_after(directory: Path, seconds: float) -> int:
    """Train and save all the time in a process that is killed.

    Args:
        directory: Where to save.
        seconds: How long it lives after the first checkpoint.

    Returns:
        The last timestep of which it said that it was saved.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        model = small_model(buffer_size=20_000, train_freq=1)
        model.learn(10**9, callback=SaveAlways(directory, lambda steps: os.write(writing, b"%d\n" % steps)))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as said:
        lines = [said.readline()]
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        lines += said.readlines()
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    return int([line for line in lines if line.endswith("\n")][-1])
