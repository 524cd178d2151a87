"""How soon does a cell see CartPole's hidden velocities? Supervised, so that no reinforcement learning is in the way.

``python -m tests.benchmarks.velocity --seeds 3`` trains cells of 64 units to tell both
velocities from positions and previous actions, over windows of 32 steps as RecurrentDQN has them. It prints the share
of each velocity's variance that stays unexplained on steps not trained on, after 1,500 and 3,000 updates.
"""

from __future__ import annotations

import argparse

import gymnasium as gym
import numpy as np
import torch
from torch import nn

from velora_sb3.cells import unroll
from velora_sb3.memory import make_cell

STEPS, TRAINING_STEPS = 40_000, 32_000
WINDOW, WARM_UP = 32, 8
POSITIONS, VELOCITIES = [0, 2], [1, 3]
CHECKPOINTS = (1_500, 3_000)
CELLS = {
    "LRC": {"cell": "lrc"},
    "LRC, orthogonal": {"cell": "lrc", "initialization": "orthogonal"},
    "LRC, euler": {"cell": "lrc", "solver": "euler"},
    "LRC, mixed memory": {"cell": "lrc", "mixed_memory": True},
    "CfC": {},
    "CfC, orthogonal": {"initialization": "orthogonal"},
    "CfC, no_gate": {"mode": "no_gate"},
    "CfC, mixed memory": {"mixed_memory": True},
    "LSTM": {"cell": "lstm"},
    "GRU": {"cell": "gru"},
}


def episodes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scaled observations, what the network sees of them with the previous action, and where episodes start.

    A controller that differs from episode to episode acts, every fifth action is random.
    """
    random = np.random.default_rng(0)
    env = gym.make("CartPole-v1")
    observation, _ = env.reset(seed=0)
    rows, previous, starts, previous_action, start = [], [], [], np.zeros(2), True
    gains = random.uniform(-1, 1, 3)
    for _ in range(STEPS):
        rows.append(observation)
        previous.append(previous_action)
        starts.append(start)
        cart, cart_velocity, pole, pole_velocity = observation
        lean = pole + 0.5 * pole_velocity + 0.05 * gains[0] * cart + 0.1 * gains[1] * cart_velocity
        action = int(lean > 0.02 * gains[2]) if random.random() > 0.2 else int(random.integers(2))
        observation, _, terminated, truncated, _ = env.step(action)
        previous_action, start = np.eye(2)[action], terminated or truncated
        if start:
            observation, _ = env.reset()
            previous_action, gains = np.zeros(2), random.uniform(-1, 1, 3)
    scaled = np.array(rows) / np.std(rows, axis=0)
    seen = np.concatenate([scaled[:, POSITIONS], np.array(previous)], axis=1)
    return scaled.astype(np.float32), seen.astype(np.float32), np.array(starts)


class Network(nn.Module):
    """A memory and two layers that read the velocities from it."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.memory = make_cell(4, units=64, **CELLS[name])
        self.readout = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Velocities ``(T, B, 2)`` of inputs ``(T, B, 4)``."""
        outputs, _ = unroll(self.memory, inputs)
        velocities: torch.Tensor = self.readout(outputs)
        return velocities


def learn(name: str, seed: int, data: tuple[np.ndarray, np.ndarray, np.ndarray]) -> dict[int, np.ndarray]:
    """Unexplained share of the variance of the two velocities after each number of updates."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    observations, seen, starts = data
    firsts = np.flatnonzero([not starts[i + 1 : i + WINDOW].any() for i in range(STEPS - WINDOW)])
    known, fresh = firsts[firsts < TRAINING_STEPS - WINDOW], firsts[firsts >= TRAINING_STEPS]

    def windows(first: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        steps = first + np.arange(WINDOW)[:, None]
        return torch.as_tensor(seen[steps]), torch.as_tensor(observations[steps][..., VELOCITIES])

    network = Network(name)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    result = {}
    for update in range(1, max(CHECKPOINTS) + 1):
        inputs, velocities = windows(random.choice(known, 32))
        loss = (network(inputs) - velocities)[WARM_UP:].square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if update in CHECKPOINTS:
            inputs, velocities = windows(fresh)
            with torch.no_grad():
                errors = (network(inputs) - velocities)[WARM_UP:]
            result[update] = (errors.square().mean((0, 1)) / velocities[WARM_UP:].var((0, 1))).numpy()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = episodes()
    print("| unexplained, cart / pole | " + " | ".join(f"{updates:,} updates" for updates in CHECKPOINTS) + " |")
    print("|---" * (len(CHECKPOINTS) + 1) + "|")
    for name in CELLS:
        runs = [learn(name, seed, data) for seed in range(arguments.seeds)]
        means = [np.mean([run[updates] for run in runs], axis=0) for updates in CHECKPOINTS]
        print(f"| {name} | " + " | ".join(f"{cart:.3f} / {pole:.3f}" for cart, pole in means) + " |", flush=True)


if __name__ == "__main__":
    main()
