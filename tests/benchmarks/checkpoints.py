"""What saving costs: a checkpoint beside SB3's ``save`` and ``save_replay_buffer``, for 100,000 transitions of SAC.

``python -m tests.benchmarks.checkpoints [--rounds 21] [--directory DIR]``
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import SAC

from tests.benchmarks.timing import time_in_turns, verdict
from velora_sb3 import load_checkpoint, save_checkpoint
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


def size(path: Path) -> int:
    """Bytes of a file, or of a directory's files."""
    return sum(file.stat().st_size for file in (path.iterdir() if path.is_dir() else [path]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--directory", default=None, help="where to write; the default is a temporary directory")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for task, capacity in itertools.product(arguments.tasks, (TRANSITIONS, 10 * TRANSITIONS)):
        model, place = filled(task, capacity), Path(tempfile.mkdtemp(dir=arguments.directory))

        sizes: dict[str, int] = {}
        paths = (place / str(number) for number in itertools.count())

        def sb3(model: SAC = model, paths: Iterator[Path] = paths) -> None:
            path = next(paths)
            model.save(path.with_suffix(".zip"))
            model.save_replay_buffer(path.with_suffix(".pkl"))

        def ours(model: SAC = model, paths: Iterator[Path] = paths) -> None:
            save_checkpoint(model, next(paths))

        def blocking(model: SAC = model, paths: Iterator[Path] = paths) -> None:
            save_checkpoint(model, next(paths), wait=False)

        # A run gives each checkpoint a new name.
        def tidy_up(place: Path = place, sizes: dict[str, int] = sizes) -> None:
            finish_saving()
            sizes.update({path.suffix: size(path) for path in place.iterdir()})
            shutil.rmtree(place)
            place.mkdir()

        turns = {"SB3": sb3, "1": tidy_up, "ours": ours, "2": tidy_up, "blocking": blocking, "3": tidy_up}
        times = time_in_turns(turns, arguments.rounds)
        save_checkpoint(model, place / "checkpoint")
        loading = partial(load_checkpoint, place / "checkpoint", Numbers(*TASKS[task]), device="cpu")
        times |= time_in_turns({"loading": loading}, arguments.rounds)
        sizes = {"SB3": sizes[".zip"] + sizes[".pkl"], "ours": sizes[""]}
        print(f"{task}, {TRANSITIONS:,} transitions in a buffer for {capacity:,}")
        for name in ("SB3", "ours"):
            print(f"  {name:<8}{1000 * times[name]:8.0f} ms {sizes[name] / 1e6:8.1f} MB")
        print(f"  ours, training waits {1000 * times['blocking']:.0f} ms; loading {1000 * times['loading']:.0f} ms")
        print("  " + verdict("time, ours to SB3's", times["ours"] / times["SB3"], BOUND, at_least=False))
        blocked = times["blocking"] / times["SB3"]
        print("  " + verdict("training waits, ours to SB3's", blocked, BOUND, at_least=False))
        print("  " + verdict("size, ours to SB3's", sizes["ours"] / sizes["SB3"], 1.0, at_least=False), flush=True)
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
