"""Episodes of a saved model, for a report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium as gym
from stable_baselines3.common.base_class import BaseAlgorithm

from velora_sb3._normalization import kept_with
from velora_sb3._signals import unmasked_signals
from velora_sb3.cli.algorithms import check_masks
from velora_sb3.cli.errors import UserError
from velora_sb3.cli.experiment.config import RunConfig
from velora_sb3.cli.experiment.environments import check_spaces, open_env, renders_frames
from velora_sb3.cli.saved_model import SavedModel
from velora_sb3.plotting import EpisodeTrace, trace_episode
from velora_sb3.video.record_episode import first_line
from velora_sb3.video.writer import as_frame

FRAMES = 8


@dataclass
class Played:
    """Episodes of a saved model.

    Attributes:
        traces: The episodes.
        shown: The first one again, with frames if the environment renders.
        note: Why there are no frames; empty if there are, or if the environment cannot render.
    """

    traces: list[EpisodeTrace]
    shown: EpisodeTrace
    note: str = ""

    @property
    def returns(self) -> list[float]:
        """Return of each episode."""
        return [float(trace.rewards.sum()) for trace in self.traces]

    @property
    def lengths(self) -> list[int]:
        """Steps of each episode."""
        return [len(trace.rewards) for trace in self.traces]


def play(model: BaseAlgorithm, saved: SavedModel, config: RunConfig, n_episodes: int) -> Played:
    """Run the first episodes of the final evaluation of training: a seeded one, and those that follow it."""
    if not config.env:
        raise UserError("no episodes: the run's environment has no Gymnasium id, so it cannot be made again")
    statistics = saved.load_normalization(config.env) or kept_with(model)
    trace = partial(trace_episode, model, vec_normalize=statistics or False)
    env = open_env(config.env)
    try:
        check_spaces(model, env, config.env)
        check_masks(type(model), env, config.env)
        seed = saved.evaluation_seed
        traces = [trace(env, None if number else seed) for number in range(n_episodes)]
        rendering = renders_frames(env)
    finally:
        env.close()
    if not rendering or not traces[0].states.shape[1]:
        return Played(traces, traces[0])
    every = -(-len(traces[0].rewards) // FRAMES)
    try:
        with unmasked_signals():
            shown = _with_frames(trace, open_env(config.env, render_mode="rgb_array"), seed, every)
    except Exception as error:  # a renderer may raise anything; the page shows the rest
        return Played(traces, traces[0], f"no frames above the hidden state: {first_line(error)}")
    return Played(traces, shown)


def _with_frames(trace: Callable[..., EpisodeTrace], env: gym.Env[Any, Any], seed: int, every: int) -> EpisodeTrace:
    try:
        shown = trace(env, seed, every_n_frames=every)
        shown.frames = {step: as_frame(frame) for step, frame in shown.frames.items()}
        return shown
    finally:
        env.close()
