"""Which architecture should ``LiquidPolicy`` have? Candidates against SB3's MlpPolicy, over seeds and tasks.

``python -m tests.benchmarks.architecture --seeds 5 --out results.jsonl`` runs what is missing in the file and prints
the table; ``--only`` restricts it to some candidates. Every run is one line of the file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from stable_baselines3 import DDPG, DQN, PPO, SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.noise import NormalActionNoise

import velora_sb3  # noqa: F401  (registers the alias)
from tests.benchmarks import parse_arguments
from velora_sb3.benchmarks.runs import Job, run_missing, table
from velora_sb3.cells import CfCCell
from velora_sb3.memory import LiquidExtractor


class LinearInit(LiquidExtractor):
    """Inputs' weights and biases as in torch's Linear, which moves the state more than ncps's one bound for all."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for module in self.cell.modules():
            if isinstance(module, CfCCell):
                bound = module.input_size**-0.5
                for parameter in (module.weight_ih, module.slope_ih, module.bias, module.slope_bias):
                    torch.nn.init.uniform_(parameter, -bound, bound)


def linear(start: float) -> Any:
    return lambda remaining: remaining * start


TASKS: dict[str, dict[str, Any]] = {
    "DDPG Pendulum 10k": {
        "algorithm": DDPG, "env": "Pendulum-v1", "steps": 10_000, "n_envs": 1,
        "settings": {"learning_rate": 1e-3, "action_noise": NormalActionNoise(np.zeros(1), 0.1 * np.ones(1))},
    },
    "SAC Pendulum 8k": {
        "algorithm": SAC, "env": "Pendulum-v1", "steps": 8_000, "n_envs": 1, "settings": {"learning_rate": 1e-3},
    },
    "PPO CartPole 50k": {
        "algorithm": PPO, "env": "CartPole-v1", "steps": 50_000, "n_envs": 8,
        "settings": {
            "n_steps": 32, "batch_size": 256, "gae_lambda": 0.8, "gamma": 0.98, "n_epochs": 20, "ent_coef": 0.0,
            "learning_rate": linear(1e-3), "clip_range": linear(0.2),
        },
    },
    "DQN CartPole 50k": {
        "algorithm": DQN, "env": "CartPole-v1", "steps": 50_000, "n_envs": 1,
        "settings": {
            "learning_rate": 2.3e-3, "batch_size": 64, "buffer_size": 100_000, "learning_starts": 1_000,
            "target_update_interval": 10, "train_freq": 256, "gradient_steps": 128,
            "exploration_fraction": 0.16, "exploration_final_eps": 0.04,
        },
    },
}  # fmt: skip

MLP = "MlpPolicy [64, 64]"
BARE = {"net_arch": [64]}
LINEAR = {"features_extractor_class": LinearInit}
CANDIDATES: dict[str, dict[str, Any]] = {
    MLP: {"net_arch": [64, 64]},
    "CfC, head [64]": BARE,
    "encoder 64, CfC, head [64]": {"net_arch": [64], "encoder_units": 64},
    "CfC, head [64], Linear's initialisation": {**BARE, **LINEAR},
    "CfC no_gate, head [64], Linear's": {**BARE, **LINEAR, "mode": "no_gate"},
    "CfC, readout 64, head [64], Linear's": {**BARE, **LINEAR, "readout_units": 64},
    "encoder 64, CfC, head [64], Linear's": {**BARE, **LINEAR, "encoder_units": 64},
    "encoder 64, CfC, readout 64, head [64], Linear's": {
        **BARE,
        **LINEAR,
        "encoder_units": 64,
        "readout_units": 64,
    },
    "CfC with NCP wiring, head [64], Linear's": {**BARE, **LINEAR, "wiring": "ncp"},
    "CfC, head [], Linear's": {**BARE, **LINEAR, "net_arch": []},
    "CfC, head [64, 64], Linear's": {**BARE, **LINEAR, "net_arch": [64, 64]},
}


def run(job: Job) -> dict[str, Any]:
    """Train one seed of one candidate on one task; 20 evaluation episodes on a fresh environment."""
    candidate, task_name, seed = job
    torch.set_num_threads(1)
    task = TASKS[task_name]
    env = make_vec_env(task["env"], n_envs=task["n_envs"], seed=seed)
    model = task["algorithm"](
        "MlpPolicy" if candidate == MLP else "LiquidPolicy",
        env,
        seed=seed,
        policy_kwargs=dict(CANDIDATES[candidate]),
        device="cpu",
        **task["settings"],
    )
    model.learn(task["steps"])
    mean, _ = evaluate_policy(model, make_vec_env(task["env"], seed=seed + 10_000), n_eval_episodes=20)
    return {"candidate": candidate, "task": task_name, "seed": seed, "returns": {str(task["steps"]): float(mean)}}


def main() -> None:
    arguments = parse_arguments(__doc__, list(CANDIDATES), list(TASKS), "architecture.jsonl")
    jobs = [(c, task, seed) for seed in range(arguments.seeds) for c in arguments.only for task in arguments.tasks]
    print(table(run_missing(run, jobs, arguments.out, arguments.jobs), list(CANDIDATES), list(TASKS)))


if __name__ == "__main__":
    main()
