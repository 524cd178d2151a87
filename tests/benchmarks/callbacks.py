"""What do the callbacks cost? DDPG on Pendulum with all of them and with none, in turns in one process on one thread.

``python -m tests.benchmarks.callbacks`` prints the table of docs/benchmarks.md. Checkpoints and videos are not due.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path

import torch
from stable_baselines3 import DDPG
from stable_baselines3.common.callbacks import BaseCallback, CallbackList

import velora_sb3  # noqa: F401  (registers the alias)
from tests.benchmarks import verdict
from velora_sb3.benchmarks.timing import time_in_turns
from velora_sb3.callbacks import (
    CometAnalytics,
    EarlyStopping,
    RecordMetrics,
    RecordVideos,
    SaveCheckpoints,
    WandbAnalytics,
)

NEVER = 10**9
STEPS = 1_000


def every_callback(root: Path) -> dict[str, BaseCallback]:
    """One of each, by name; what they write goes below ``root``."""
    return {
        "EarlyStopping": EarlyStopping(1e9),
        "SaveCheckpoints": SaveCheckpoints("run", frequency=NEVER, root=root),
        "RecordVideos": RecordVideos("run", frequency=NEVER, root=root),
        "RecordMetrics": RecordMetrics(root / "metrics.db"),
        "WandbAnalytics": WandbAnalytics("benchmark", mode="offline"),
        "CometAnalytics": CometAnalytics("benchmark", online=False),
    }


class Going(CallbackList):
    """A list whose start and end are kept apart from what is timed: a run has one of each, however long it is."""

    started = False

    def _init_callback(self) -> None:
        if not self.started:
            super()._init_callback()

    def _on_training_start(self) -> None:
        if not self.started:
            self.started = True
            super()._on_training_start()

    def _on_training_end(self) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        callbacks = every_callback(Path(scratch))
        candidates: dict[str, list[BaseCallback]] = {"none": [], "all": list(callbacks.values())}
        models = {name: DDPG("MlpPolicy", "Pendulum-v1", seed=0, device="cpu") for name in candidates}
        going = {name: Going(list(chosen)) for name, chosen in candidates.items()}
        turns = {
            name: partial(model.learn, STEPS, callback=going[name], reset_num_timesteps=False)
            for name, model in models.items()
        }
        seconds = time_in_turns(turns, arguments.rounds, warmup=2)
        for callback in callbacks.values():
            callback.on_training_end()
    for name, taken in seconds.items():
        print(f"{name}: {STEPS / taken:.0f} steps/s")
    print(verdict("time with all callbacks / with none", seconds["all"] / seconds["none"], 1.03))


if __name__ == "__main__":
    main()
