"""One episode of a model, with what goes on in its network."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3.common.base_class import BaseAlgorithm

from velora_sb3.cells import time_constants
from velora_sb3.plotting.acting_cell import CellStep, find_cell, recorded_steps

MAX_STEPS = 10_000


@dataclass
class EpisodeTrace:
    """One episode.

    Attributes:
        states: The units after each observation ``(T, S)``: the memory of a model that remembers, else the liquid
            cell's; ``(T, 0)`` if there is neither.
        observations: What the agent saw ``(T, ...)``.
        actions: What it did ``(T, ...)``.
        rewards: What it got ``(T,)``.
        hidden: What the environment knew and the agent was not shown ``(T, ...)``; empty if nobody asked.
        frames: Pictures of the environment by the step, ``(height, width, 3)`` each.
        time_constants: How fast the units moved ``(T, U)``; ``(T, 0)`` without a liquid cell.
        timed: Whether the cell is told the time: its time constants are in the environment's unit then, else in steps.
        carried: Whether the units are carried from one step to the next: the model remembers.
        ended: Whether the episode ended, and was not cut.
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
) -> EpisodeTrace:
    """Let a model act deterministically for one episode and note its units at each step.

    Args:
        model: Any model; a maskable one gets its masks.
        env: The environment, not vectorized.
        seed: Seed of the episode.
        max_steps: Where to cut an episode that does not end.
        look: Called with the environment at each step, before the action, to note what the agent is not shown.
        every_n_frames: Render each so many steps; 0 for never. The environment needs ``render_mode="rgb_array"``.

    Returns:
        The episode.
    """
    takes_masks = "action_masks" in inspect.signature(model.predict).parameters and is_masking_supported(env)
    cell = find_cell(model)
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
        masks = {"action_masks": get_action_masks(env)} if takes_masks else {}
        with recorded_steps(cell) as taken:
            action, state = model.predict(observation, state, starts, deterministic=True, **masks)
        starts = np.zeros(1, dtype=bool)
        if cell is not None and taken:
            last = taken[0]  # of the acting network; whoever else shares the cell comes later
            timed = last.timespans is not None
            speeds.append(time_constants(cell, last.inputs, last.before, last.timespans)[0].cpu().numpy())
        states.append(_units(state, taken))
        observations.append(observation)
        actions.append(action)
        action = action[()] if np.ndim(action) == 0 else action  # a number: an array is no key of a table
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


def _units(state: tuple[np.ndarray, ...] | None, taken: list[CellStep]) -> np.ndarray:
    """The units ``(S,)``. RecurrentPPO's memory comes in two parts, ours in one with the last action."""
    if state is None:
        return taken[0].after[0].cpu().numpy() if taken else np.zeros(0)
    parts = state if state[0].ndim == 3 else state[:1]
    return np.concatenate([part.reshape(-1) for part in parts])
