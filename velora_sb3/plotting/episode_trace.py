"""One episode of a model, with the activity of its network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from velora_sb3._normalization import ObservationStatistics, resolve_statistics
from velora_sb3._validation import takes_masks
from velora_sb3.cells import LiquidCell
from velora_sb3.cells.time_constants import has_time_constants, time_constants
from velora_sb3.plotting.acting_cell import CellStep, find_cell, recorded_steps

MAX_STEPS = 10_000


@dataclass
class EpisodeTrace:
    """One episode.

    Attributes:
        states: The units after each observation ``(T, S)``: the state of a recurrent model, else of its liquid cell;
            ``(T, 0)`` without either.
        observations: The observations ``(T, ...)``.
        actions: The actions ``(T, ...)``.
        rewards: The rewards ``(T,)``.
        hidden: What ``look`` returned, such as variables that are not observed ``(T, ...)``; empty without ``look``.
        frames: Rendered frames ``(height, width, 3)`` by step.
        time_constants: Time constants of the units ``(T, U)``; ``(T, 0)`` without a liquid cell.
        timed: Whether time constants are in the environment's time unit, as the cell receives timespans; else in steps.
        carried: Whether the model is recurrent: its units carry over from one step to the next.
        ended: Whether the episode ended before ``max_steps``.
    """

    states: np.ndarray
    observations: list[Any]
    actions: np.ndarray
    rewards: np.ndarray
    hidden: np.ndarray
    frames: dict[int, np.ndarray] = field(default_factory=dict)
    time_constants: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    timed: bool = False
    carried: bool = True
    ended: bool = True


def trace_episode(
    model: BaseAlgorithm,
    env: gym.Env[Any, Any],
    seed: int | None = None,
    max_steps: int = MAX_STEPS,
    look: Any = None,
    every_n_frames: int = 0,
    vec_normalize: VecNormalize | ObservationStatistics | Literal[False] | None = None,
) -> EpisodeTrace:
    """Record the units of a model at each step of one episode, with deterministic actions.

    Args:
        model: Any model; a maskable one gets its action masks.
        env: The environment, not vectorized.
        seed: Seed of the episode.
        max_steps: Truncate the episode after this many steps.
        look: Called with the environment before each action; returns numbers to record, such as a hidden position.
        every_n_frames: Steps from one rendered frame to the next; 0 to render none. The environment needs
            ``render_mode="rgb_array"``.
        vec_normalize: What normalizes the observations for the model; None for the ``VecNormalize`` of its own
            environment, or the statistics of its checkpoint, if there are any; False for an environment that
            normalizes them.

    Returns:
        The episode.

    Raises:
        TypeError: If the environment is vectorized.
        ValueError: If the statistics are missing: the model is from a zip file and was trained under a
            ``VecNormalize``.
    """
    given: object = env
    if isinstance(given, VecEnv):
        kind = type(given).__name__
        raise TypeError(f"env must be a single environment, such as gymnasium.make(...), got a vectorized one, {kind}")
    masked = takes_masks(model) and is_masking_supported(env)
    cell = find_cell(model)
    statistics = resolve_statistics(model, vec_normalize)
    observation, _ = env.reset(seed=seed)
    state, starts, ended = None, np.ones(1, dtype=bool), False
    states, observations, actions, rewards, hidden, speeds = [], [], [], [], [], []
    frames: dict[int, np.ndarray] = {}
    timed = False
    for step in range(max_steps):
        if every_n_frames and step % every_n_frames == 0:
            frames[step] = np.asarray(env.render())
        if look is not None:
            hidden.append(np.array(look(env), dtype=float))
        masks = {"action_masks": get_action_masks(env)} if masked else {}
        with recorded_steps(cell) as steps:
            seen = observation if statistics is None else statistics.normalize_obs(observation)
            action, state = model.predict(seen, state, starts, deterministic=True, **masks)
        starts = np.zeros(1, dtype=bool)
        if cell is not None and steps:
            last = steps[0]  # the acting network's; others that share the cell come later
            timed = last.timespans is not None
            if has_time_constants(cell):
                speeds.append(time_constants(cell, last.inputs, last.before, last.timespans)[0].cpu().numpy())
        states.append(_units(state, steps, cell))
        observations.append(observation)
        actions.append(action)
        action = action[()] if np.ndim(action) == 0 else action  # a scalar, as tabular environments index by it
        observation, reward, terminated, truncated, _ = env.step(action)
        rewards.append(float(reward))
        if terminated or truncated:
            ended = True
            break
    return EpisodeTrace(
        np.array(states),
        observations,
        np.array(actions),
        np.array(rewards),
        np.array(hidden),
        frames,
        np.array(speeds) if speeds else np.zeros((len(states), 0)),
        timed,
        state is not None,
        ended,
    )


def _units(state: tuple[np.ndarray, ...] | None, steps: list[CellStep], cell: LiquidCell | None) -> np.ndarray:
    """The units ``(S,)``: both parts of an LSTM's state, and the first of ours, whose second is the last action."""
    if state is None:
        return steps[0].after[0].cpu().numpy() if steps else np.zeros(0)
    parts = state if state[0].ndim == 3 else state[:1]
    units = np.concatenate([part.reshape(-1) for part in parts])
    return units if cell is None else units[: cell.state_size]  # without what makes halves of an odd state equal
