"""What a network remembers over an episode: its units, under what the environment showed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm

MAX_STEPS = 10_000


@dataclass
class HiddenStateTrace:
    """One episode of an agent that remembers.

    Attributes:
        states: The memory after each observation ``(T, S)``.
        observations: What the agent saw ``(T, ...)``.
        actions: What it did ``(T, ...)``.
        rewards: What it got ``(T,)``.
        hidden: What the environment knew and the agent was not shown ``(T, ...)``; empty if nobody asked.
        frames: Pictures of the environment by the step, ``(height, width, 3)`` each.
    """

    states: np.ndarray
    observations: list[Any]
    actions: np.ndarray
    rewards: np.ndarray
    hidden: np.ndarray
    frames: dict[int, np.ndarray] = field(default_factory=dict)


def trace_hidden_state(
    model: BaseAlgorithm,
    env: gym.Env[Any, Any],
    seed: int | None = None,
    max_steps: int = MAX_STEPS,
    look: Any = None,
    every_n_frames: int = 0,
) -> HiddenStateTrace:
    """Let a model act deterministically for one episode and note its memory at each step.

    Args:
        model: A model that remembers: a recurrent one of ours, or sb3-contrib's RecurrentPPO with any policy.
        env: The environment, not vectorized.
        seed: Seed of the episode.
        max_steps: Where to cut an episode that does not end.
        look: Called with the environment at each step, before the action, to note what the agent is not shown.
        every_n_frames: Render each so many steps; 0 for never. The environment needs ``render_mode="rgb_array"``.

    Returns:
        The episode.

    Raises:
        ValueError: If the model's ``predict`` gives no state.
    """
    observation, _ = env.reset(seed=seed)
    state, starts = None, np.ones(1, dtype=bool)
    states, observations, actions, rewards, hidden = [], [], [], [], []
    frames: dict[int, np.ndarray] = {}
    for step in range(max_steps):
        if every_n_frames and step % every_n_frames == 0:
            frames[step] = np.asarray(env.render())
        if look is not None:
            hidden.append(np.array(look(env), dtype=float))
        action, state = model.predict(observation, state=state, episode_start=starts, deterministic=True)
        if state is None:
            raise ValueError(
                f"{type(model).__name__} with {type(model.policy).__name__} remembers nothing: its predict gives no "
                "state; use one of the Recurrent algorithms"
            )
        starts = np.zeros(1, dtype=bool)
        states.append(_memory(state))
        observations.append(observation)
        actions.append(action)
        observation, reward, terminated, truncated, _ = env.step(action)
        rewards.append(float(reward))
        if terminated or truncated:
            break
    return HiddenStateTrace(
        np.array(states), observations, np.array(actions), np.array(rewards), np.array(hidden), frames
    )


def _memory(state: tuple[np.ndarray, ...]) -> np.ndarray:
    """The memory ``(S,)`` of one environment. RecurrentPPO's comes in two parts, ours in one with the last action."""
    parts = state if state[0].ndim == 3 else state[:1]
    return np.concatenate([part.reshape(-1) for part in parts])


def plot_hidden_state(
    path: Path,
    trace: HiddenStateTrace,
    lines: dict[str, tuple[np.ndarray, str]] | None = None,
    title: str = "",
    y_label: str = "",
) -> None:
    """Draw frames, the units as a heat map with similar ones side by side, and curves below.

    Args:
        path: The picture to write, ``.png`` or ``.svg``.
        trace: The episode.
        lines: Curves over the episode ``(T,)`` by their label, each with its matplotlib style.
        title: Stands above the picture.
        y_label: What the curves show, with its unit.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    heights = [1.0] * bool(trace.frames) + [2.0] + [1.4] * bool(lines)
    figure = Figure(figsize=(8, 1.6 * sum(heights)), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    row = 0
    steps = len(trace.states)
    if trace.frames:
        strip = grid[0].subgridspec(1, len(trace.frames), wspace=0.02)
        for column, (step, frame) in enumerate(trace.frames.items()):
            axes = figure.add_subplot(strip[column])
            axes.imshow(frame)
            axes.set_title(f"step {step}", fontsize=8)
            axes.set_axis_off()
        row = 1
    units = figure.add_subplot(grid[row])
    picture = units.imshow(
        trace.states.T[order_of_units(trace.states)],
        aspect="auto",
        cmap="RdBu_r",
        vmin=-1,
        vmax=1,
        interpolation="nearest",
        extent=(0, steps, trace.states.shape[1], 0),
    )
    units.set_ylabel("units")
    units.set_yticks([])
    figure.colorbar(picture, ax=units, label="activation", fraction=0.03, pad=0.01)
    if lines:
        below = figure.add_subplot(grid[row + 1], sharex=units)
        for label, (values, style) in lines.items():
            below.plot(np.arange(len(values)) + 0.5, values, style, label=label, linewidth=1.5)
        below.set_ylabel(y_label)
        below.legend(frameon=False, ncols=len(lines), loc="upper right")
        below.grid(alpha=0.25)
        below.spines[["top", "right"]].set_visible(False)
        units.tick_params(labelbottom=False)
    figure.axes[-1 if lines else -2].set_xlabel("step")
    figure.suptitle(title)
    figure.savefig(path)


def order_of_units(states: np.ndarray) -> np.ndarray:
    """An order in which units that move alike stand side by side: by their first two principal components' angle.

    Args:
        states: The units over time ``(T, S)``.

    Returns:
        Indices ``(S,)``.
    """
    centred = states - states.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    first = directions[0]
    second = directions[1] if len(directions) > 1 else np.zeros_like(first)
    return np.argsort(np.arctan2(second, first), kind="stable")
