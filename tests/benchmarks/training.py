"""Training speed: ``LiquidPolicy`` beside MlpPolicy [64, 64], in turns in one process on one thread.

``python -m tests.benchmarks.training`` prints the table of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from stable_baselines3 import DDPG, DQN, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm

import velora_sb3  # noqa: F401  (registers the alias)
from velora_sb3.benchmarks.timing import time_in_turns, verdict

# algorithm, environment, settings, steps of one turn
TASKS: dict[str, tuple[type[BaseAlgorithm], str, dict[str, Any], int]] = {
    "DDPG Pendulum": (DDPG, "Pendulum-v1", {"learning_rate": 1e-3}, 500),
    "SAC Pendulum": (SAC, "Pendulum-v1", {"learning_rate": 1e-3}, 300),
    "PPO CartPole": (PPO, "CartPole-v1", {"n_steps": 512}, 2048),
    "DQN CartPole": (DQN, "CartPole-v1", {"learning_starts": 100}, 3000),
}


def measure(task: str, rounds: int, device: str) -> tuple[float, float, float, float]:
    """Steps per second and seconds of one ``predict``, of the MLP and of ours."""
    algorithm, env, settings, steps = TASKS[task]
    models = {
        "MLP": algorithm("MlpPolicy", env, policy_kwargs={"net_arch": [64, 64]}, seed=0, device=device, **settings),
        "ours": algorithm("LiquidPolicy", env, seed=0, device=device, **settings),
    }
    learning = time_in_turns(
        {name: lambda model=model: model.learn(steps, reset_num_timesteps=False) for name, model in models.items()},
        rounds,
        warmup=1,
    )
    observation = models["MLP"].observation_space.sample()
    acting = time_in_turns(
        {name: lambda model=model: model.predict(observation, deterministic=True) for name, model in models.items()},
        3000,
        warmup=100,
    )
    return steps / learning["MLP"], steps / learning["ours"], acting["MLP"], acting["ours"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    lines = []
    print("| task | MlpPolicy [64, 64], steps/s | LiquidPolicy, steps/s | ratio | predict, LiquidPolicy / MlpPolicy |")
    print("|---|---|---|---|---|")
    for task in TASKS:
        mlp, ours, mlp_predict, our_predict = measure(task, arguments.rounds, arguments.device)
        print(f"| {task} | {mlp:.0f} | {ours:.0f} | {ours / mlp:.2f} | {our_predict / mlp_predict:.2f} |", flush=True)
        lines.append(verdict(f"{task}, steps/s of LiquidPolicy / MlpPolicy", ours / mlp, 0.75, at_least=True))
        lines.append(verdict(f"{task}, time of predict", our_predict / mlp_predict, 1.4, at_least=False))
    print("\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
