"""Several seeds in one trial, which advance together from evaluation to evaluation."""

from __future__ import annotations

import random
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from velora_sb3.tune.report import TuneReport

Metrics = dict[str, Any]


class SeedReport(TuneReport):
    """Reports to the trial of which the run is one seed.

    Args:
        run: The run of that seed.
    """

    def __init__(self, run: SeedRun) -> None:
        super().__init__()
        self._run = run

    def _check_trial(self) -> None:
        pass

    def _directory(self) -> AbstractContextManager[str]:
        return nullcontext(str(self._run.directory))

    def _name(self) -> str:
        return self._run.name

    def _send(self, metrics: Metrics, directory: str | None) -> None:
        self._run.wait(metrics)


class SeedRun(threading.Thread):
    """One seed, in a thread of its own that runs only when it has its turn.

    The global random generators are its own: they are saved while others run, so a seed trains as it would alone.

    Args:
        train: Trains with a report.
        name: A file name for its checkpoints.

    Attributes:
        is_waiting: Whether it has evaluated and waits for its next turn; False after its end.
        directory: Where to write the next checkpoint.
        metrics: The latest evaluation.
        result: What ``train`` returned.
        error: What it raised.
    """

    def __init__(self, train: Callable[[TuneReport], Any], name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._train = train
        self._turn, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._stopping = False
        self.is_waiting = False
        self.directory = Path()
        self.metrics: Metrics = {}
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        """Train."""
        self._turn.acquire()
        try:
            if not self._stopping:
                self.result = self._train(SeedReport(self))
        except BaseException as error:
            self.error = error
        finally:
            self.is_waiting = False
            self._done.release()

    def advance(self, directory: Path) -> None:
        """Give it a turn, until its next evaluation or its end."""
        self.directory = directory
        self._turn.release()
        self._done.acquire()
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        """End it. Idempotent."""
        self._stopping = True
        self._turn.release()
        self.join()

    def wait(self, metrics: Metrics) -> None:
        """Hand over an evaluation and wait for the next turn."""
        self.metrics, self.is_waiting = metrics, True
        state = random.getstate(), np.random.get_state(), torch.get_rng_state()
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        self._done.release()
        self._turn.acquire()
        if self._stopping:
            raise SystemExit(0)
        random.setstate(state[0])
        np.random.set_state(state[1])
        torch.set_rng_state(state[2])
        if cuda:
            torch.cuda.set_rng_state_all(cuda)


def train_seeds(
    trains: Sequence[Callable[[TuneReport], Any]], names: Sequence[str], report: Callable[[list[Metrics], Path], object]
) -> list[Any]:
    """Train seeds until all have ended, and report whenever all have evaluated.

    Args:
        trains: One function for each seed; they evaluate equally often.
        names: A file name for each seed's checkpoints.
        report: Gets the seeds' metrics and the directory of their checkpoints. It may raise to end them.

    Returns:
        The results of the functions.
    """
    runs = [SeedRun(train, name) for train, name in zip(trains, names, strict=True)]
    for run in runs:
        run.start()
    try:
        while True:
            with tempfile.TemporaryDirectory() as directory:
                for run in runs:
                    run.advance(Path(directory))
                waiting = [run.is_waiting for run in runs]
                if not any(waiting):
                    return [run.result for run in runs]
                if not all(waiting):
                    raise RuntimeError("some seeds of the trial have ended, but others are still training")
                report([run.metrics for run in runs], Path(directory))
    finally:
        for run in runs:
            run.stop()
