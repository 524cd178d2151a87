"""Draws docs/images/hidden_state.png: ``python docs/_tools/hidden_state_picture.py`` (about three minutes).

Trains RecurrentSAC on Pendulum without velocities and compares a linear readout of its units, fitted on other episodes,
with the angular velocity, which the agent never sees.
"""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
from PIL import Image

from velora_sb3 import RecurrentSAC
from velora_sb3.plotting import hidden_state_trace, trace_episode

STEPS, FITTED_EPISODES, SHOWN = 10_000, 10, 120


def velocity(env: gym.Env) -> np.ndarray:
    """The hidden angular velocity in rad/s."""
    return env.unwrapped.state[1:]


def main() -> None:
    """Train, fit the readout, draw."""
    torch.set_num_threads(1)
    model = RecurrentSAC("LiquidPolicy", "PendulumNoVel-v1", seed=0, device="cpu").learn(STEPS)
    env = gym.make("PendulumNoVel-v1", render_mode="rgb_array")
    fitted = [trace_episode(model, env, seed=seed, look=velocity) for seed in range(1, FITTED_EPISODES + 1)]
    states = np.concatenate([trace.states for trace in fitted])
    known = np.concatenate([trace.hidden[:, 0] for trace in fitted])
    weights, *_ = np.linalg.lstsq(np.column_stack([states, np.ones(len(states))]), known, rcond=None)

    trace = trace_episode(model, env, seed=0, max_steps=SHOWN, look=velocity, every_n_frames=15)
    truth = trace.hidden[:, 0]
    readout = np.column_stack([trace.states, np.ones(len(trace.states))]) @ weights
    explained = 1 - np.sum((truth - readout) ** 2) / np.sum((truth - truth.mean()) ** 2)
    print(f"explained variance of the velocity in an episode not fitted on: {explained:.3f}")
    figure = hidden_state_trace(
        trace,
        {"angular velocity, never shown": (truth, "k-"), "linear readout of the units": (readout, "C1--")},
        "RecurrentSAC on PendulumNoVel-v1: the actor's memory over an episode",
        "rad/s",
    )
    path = Path(__file__).parents[1] / "images" / "hidden_state.png"
    figure.savefig(path)
    with Image.open(path) as picture:  # a palette: a third of the size
        picture.convert("RGB").quantize(128).save(path, optimize=True)


if __name__ == "__main__":
    main()
