"""Do the recurrent algorithms remember? Tasks without velocities, beside an MLP on one frame and on four.

``python -m tests.benchmarks.memory --seeds 5 --out memory.jsonl`` runs what is missing in the file and prints the
table.
"""

from __future__ import annotations

from typing import Any

import torch
from stable_baselines3 import DDPG, DQN, SAC, TD3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack

from tests.benchmarks.runs import Job, parse_arguments, run_missing, table
from velora_sb3 import RecurrentDDPG, RecurrentDQN, RecurrentSAC, RecurrentTD3

PENDULUM, CARTPOLE = "PendulumNoVel-v1", "CartPoleNoVel-v1"
TASKS: dict[str, tuple[str, int]] = {
    "PendulumNoVel 8k": (PENDULUM, 8_000),
    "PendulumNoVel 20k": (PENDULUM, 20_000),
    "CartPoleNoVel 50k": (CARTPOLE, 50_000),
}
MLP = {"net_arch": [64, 64]}
# algorithm, policy, policy_kwargs, frames; the learning rate is 1e-3 everywhere, everything else the default.
CANDIDATES: dict[str, tuple[Any, str, dict[str, Any], int]] = {
    "RecurrentSAC": (RecurrentSAC, "LiquidPolicy", {}, 1),
    "RecurrentTD3": (RecurrentTD3, "LiquidPolicy", {}, 1),
    "RecurrentDDPG": (RecurrentDDPG, "LiquidPolicy", {}, 1),
    "RecurrentDQN": (RecurrentDQN, "LiquidPolicy", {}, 1),
    "SAC, MLP, one frame": (SAC, "MlpPolicy", MLP, 1),
    "SAC, MLP, four frames": (SAC, "MlpPolicy", MLP, 4),
    "TD3, MLP, four frames": (TD3, "MlpPolicy", MLP, 4),
    "DDPG, MLP, four frames": (DDPG, "MlpPolicy", MLP, 4),
    "DQN, MLP, four frames": (DQN, "MlpPolicy", MLP, 4),
}
DISCRETE = ("RecurrentDQN", "DQN, MLP, four frames")


def make_env(env_id: str, frames: int, seed: int) -> VecEnv:
    """The environment, with a stack of frames if asked for."""
    env = make_vec_env(env_id, seed=seed)
    return VecFrameStack(env, frames) if frames > 1 else env


def run(job: Job) -> dict[str, Any]:
    """Train one seed of one candidate on one task; 20 evaluation episodes on a fresh environment."""
    candidate, task, seed = job
    torch.set_num_threads(1)
    algorithm, policy, policy_kwargs, frames = CANDIDATES[candidate]
    env_id, steps = TASKS[task]
    env = make_env(env_id, frames, seed)
    model = algorithm(policy, env, learning_rate=1e-3, seed=seed, policy_kwargs=dict(policy_kwargs), device="cpu")
    model.learn(steps)
    mean, _ = evaluate_policy(model, make_env(env_id, frames, seed + 10_000), n_eval_episodes=20)
    return {"candidate": candidate, "task": task, "seed": seed, "return": float(mean)}


def main() -> None:
    arguments = parse_arguments(__doc__, list(CANDIDATES), list(TASKS), "memory.jsonl")
    jobs = [
        (candidate, task, seed)
        for seed in range(arguments.seeds)
        for candidate in arguments.only
        for task in arguments.tasks
        if (TASKS[task][0] == CARTPOLE) == (candidate in DISCRETE)
    ]
    print(table(run_missing(run, jobs, arguments.out, arguments.jobs), list(CANDIDATES), list(TASKS)))


if __name__ == "__main__":
    main()
