"""What saving costs: a checkpoint beside SB3's ``save`` and ``save_replay_buffer``, for 100,000 transitions of SAC.

``python -m tests.benchmarks.checkpoints [--rounds 21] [--directory DIR]``
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import SAC

from tests.benchmarks import verdict
from velora_sb3 import load_checkpoint, save_checkpoint
from velora_sb3.benchmarks.timing import time_in_turns
from velora_sb3.checkpoints import finish_saving

TRANSITIONS, EPISODE = 100_000, 200
# Numbers of an observation and of an action.
TASKS = {"Pendulum": (3, 1), "HalfCheetah": (17, 6)}
BOUND = 1.5


class Numbers(gym.Env[np.ndarray, np.ndarray]):
    """Has observations and actions of some size, and a state."""

    def __init__(self, observation: int, action: int) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (observation,))
        self.action_space = spaces.Box(-1, 1, (action,))

    def reset(self, *, seed: int | None = None, options: dict[str, object] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        return np.zeros(self.observation_space.shape, dtype=np.float32), {}

    def get_state(self) -> dict[str, int]:
        return {}

    def set_state(self, state: dict[str, int]) -> None:
        pass


def filled(task: str, capacity: int) -> SAC:
    """A model with 100,000 random transitions, and optimizers that have taken a step."""
    model = SAC("MlpPolicy", Numbers(*TASKS[task]), buffer_size=capacity, device="cpu", seed=0)
    buffer, draw = model.replay_buffer, np.random.default_rng(0)
    assert buffer is not None
    for array in (buffer.observations, buffer.next_observations, buffer.actions, buffer.rewards):
        array[:TRANSITIONS] = draw.standard_normal((TRANSITIONS, *array.shape[1:]), dtype=np.float32)
    ended = np.arange(1, TRANSITIONS + 1) % EPISODE == 0
    buffer.dones[:TRANSITIONS, 0] = ended
    within = np.flatnonzero(~ended)
    buffer.next_observations[within] = buffer.observations[within + 1]
    buffer.pos, buffer.full = TRANSITIONS % capacity, capacity == TRANSITIONS
    model._setup_learn(1)
    model.train(gradient_steps=1, batch_size=256)
    return model


class Saving:
    """Saves a model in several ways, each time under a new name, as a run does.

    Args:
        model: The model.
        directory: Where to.
    """

    def __init__(self, model: SAC, directory: Path) -> None:
        self.model, self.directory = model, directory
        self.names = itertools.count()
        self.sizes: dict[str, int] = {}

    def path(self) -> Path:
        return self.directory / str(next(self.names))

    def sb3(self, wait: bool = False) -> None:
        path = self.path()
        files = [path.with_suffix(".zip"), path.with_suffix(".pkl")]
        self.model.save(files[0])
        self.model.save_replay_buffer(files[1])
        for file in files if wait else []:
            with file.open("rb") as written:
                os.fsync(written.fileno())

    def ours(self, wait: bool = True) -> None:
        save_checkpoint(self.model, self.path(), wait=wait)

    def tidy_up(self) -> None:
        """Note sizes, and remove what was saved."""
        finish_saving()
        for path in self.directory.iterdir():
            files = list(path.iterdir()) if path.is_dir() else [path]
            self.sizes[path.suffix] = sum(file.stat().st_size for file in files)
        shutil.rmtree(self.directory)
        self.directory.mkdir()


def measure(task: str, capacity: int, rounds: int, directory: Path) -> None:
    """Print times and sizes, and whether they are what they must be."""
    saving = Saving(filled(task, capacity), directory)
    actions = {
        "SB3": saving.sb3,
        "SB3, on the disk": partial(saving.sb3, wait=True),
        "ours, on the disk": saving.ours,
        "ours, wait=False": partial(saving.ours, wait=False),
    }
    turns: dict[str, Callable[[], object]] = {}
    for name, action in actions.items():
        turns |= {name: action, f"after {name}": saving.tidy_up}
    times = time_in_turns(turns, rounds)
    save_checkpoint(saving.model, directory / "checkpoint")
    loading = partial(load_checkpoint, directory / "checkpoint", Numbers(*TASKS[task]), device="cpu")
    times |= time_in_turns({"loading ours": loading}, rounds)
    print(f"{task}, {TRANSITIONS:,} transitions in a buffer for {capacity:,}")
    for name in (*actions, "loading ours"):
        print(f"  {name:<18}{1000 * times[name]:6.0f} ms")
    sizes = {"SB3": saving.sizes[".zip"] + saving.sizes[".pkl"], "ours": saving.sizes[""]}
    print(f"  SB3 {sizes['SB3'] / 1e6:.1f} MB, ours {sizes['ours'] / 1e6:.1f} MB")
    for ours, theirs in (
        ("ours, on the disk", "SB3"),
        ("ours, on the disk", "SB3, on the disk"),
        ("ours, wait=False", "SB3"),
    ):
        print("  " + verdict(f"{ours} to {theirs}", times[ours] / times[theirs], BOUND))
    print("  " + verdict("size, ours to SB3's", sizes["ours"] / sizes["SB3"], 1.0), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--directory", default=None, help="where to write; the default is a temporary directory")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for task, capacity in itertools.product(arguments.tasks, (TRANSITIONS, 10 * TRANSITIONS)):
        directory = Path(tempfile.mkdtemp(dir=arguments.directory))
        try:
            measure(task, capacity, arguments.rounds, directory)
        finally:
            shutil.rmtree(directory)


if __name__ == "__main__":
    main()
