"""Which settings should the recurrent off-policy algorithms have? One change at a time, on tasks without velocities.

``python -m tests.benchmarks.recurrent_choices --seeds 4 --out choices.jsonl`` runs what is missing in the file and
prints the table. Seeds start at 100: the seeds of the memory benchmark take no part in the choice.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.noise import NormalActionNoise

from tests.benchmarks import parse_arguments
from velora_sb3 import RecurrentDQN, RecurrentQRDQN, RecurrentSAC, RecurrentTD3
from velora_sb3.benchmarks.runs import Job, run_missing, table
from velora_sb3.memory import LiquidExtractor

FIRST_SEED = 100
SAC_TASK, DQN_TASK = "RecurrentSAC PendulumNoVel", "RecurrentDQN CartPoleNoVel"
TD3_TASK, QRDQN_TASK = "RecurrentTD3 PendulumNoVel", "RecurrentQRDQN CartPoleNoVel"
TASKS: dict[str, tuple[type[BaseAlgorithm], str, int]] = {
    SAC_TASK: (RecurrentSAC, "PendulumNoVel-v1", 8_000),
    DQN_TASK: (RecurrentDQN, "CartPoleNoVel-v1", 50_000),
    QRDQN_TASK: (RecurrentQRDQN, "CartPoleNoVel-v1", 50_000),
    TD3_TASK: (RecurrentTD3, "PendulumNoVel-v1", 20_000),
}
NCPS = {"initialization": "ncps"}
NOISE = {"action_noise": NormalActionNoise(np.zeros(1), 0.1 * np.ones(1))}


def falling(start: float) -> Any:
    return lambda remaining: remaining * start


# Arguments of the algorithm, of the policy, and what only this benchmark does.
CANDIDATES: dict[str, tuple[str, dict[str, Any], dict[str, Any], dict[str, float]]] = {
    "orthogonal initialization": (SAC_TASK, {}, {"initialization": "orthogonal"}, {}),
    "ncps's initialization": (SAC_TASK, {}, NCPS, {}),
    "ncps's, windows of 16, 32 of them": (SAC_TASK, {"sequence_length": 16, "batch_size": 32}, NCPS, {}),
    "ncps's, windows of 64, 8 of them": (SAC_TASK, {"sequence_length": 64, "batch_size": 8}, NCPS, {}),
    "ncps's, learning rate 2e-3": (SAC_TASK, {"learning_rate": 2e-3}, NCPS, {}),
    "ncps's, learning rate of the memory 3e-4": (SAC_TASK, {}, NCPS, {"memory_rate": 0.3}),
    "ncps's, gradients clipped to norm 1": (SAC_TASK, {}, NCPS, {"clip": 1.0}),
    "ncps's, tau 0.01": (SAC_TASK, {"tau": 0.01}, NCPS, {}),
    "ncps's, entropy coefficient from 0.1": (SAC_TASK, {"ent_coef": "auto_0.1"}, NCPS, {}),
    "ncps's, no readout, head [64, 64]": (SAC_TASK, {}, {**NCPS, "readout_units": None, "net_arch": [64, 64]}, {}),
    "ncps's, head [64, 64]": (SAC_TASK, {}, {**NCPS, "net_arch": [64, 64]}, {}),
    "ncps's, no_gate": (SAC_TASK, {}, {**NCPS, "mode": "no_gate"}, {}),
    "ncps's, encoder 64": (SAC_TASK, {}, {**NCPS, "encoder_units": 64}, {}),
    "ncps's, one memory for actor and critics": (SAC_TASK, {}, {**NCPS, "share_features_extractor": True}, {}),
    "the default": (DQN_TASK, {}, {}, {}),
    "rate falling from 1e-3, returns of one step": (DQN_TASK, {"learning_rate": falling(1e-3), "n_steps": 1}, {}, {}),
    "rate falling from 1e-3, of eight": (DQN_TASK, {"learning_rate": falling(1e-3), "n_steps": 8}, {}, {}),
    "rate falling from 1e-3, of ten": (DQN_TASK, {"learning_rate": falling(1e-3), "n_steps": 10}, {}, {}),
    "windows of 8 after 24, 64 of them": (
        DQN_TASK,
        {"sequence_length": 8, "burn_in_length": 24, "batch_size": 64},
        {},
        {},
    ),
    "mixed memory": (DQN_TASK, {}, {"mixed_memory": True}, {}),
    "ncps's": (DQN_TASK, {}, NCPS, {}),
    "no burn-in": (DQN_TASK, {"burn_in_length": 0}, {}, {}),
    "no burn-in, stored states": (DQN_TASK, {"burn_in_length": 0, "stored_state": True}, {}, {}),
    "learning rate 1e-3": (DQN_TASK, {"learning_rate": 1e-3}, {}, {}),
    "learning rate falling from 1e-3": (DQN_TASK, {"learning_rate": falling(1e-3)}, {}, {}),
    "rate falling from 1e-3, two updates": (DQN_TASK, {"learning_rate": falling(1e-3), "gradient_steps": 2}, {}, {}),
    "rate falling from 1e-3, 32 windows": (DQN_TASK, {"learning_rate": falling(1e-3), "batch_size": 32}, {}, {}),
    "rate falling from 1e-3, burn-in of 500": (
        DQN_TASK,
        {"learning_rate": falling(1e-3), "burn_in_length": 500},
        {},
        {},
    ),
    "rate falling from 1e-3, burn-in of 16": (
        DQN_TASK,
        {"learning_rate": falling(1e-3), "burn_in_length": 16},
        {},
        {},
    ),
    "an update every 2 steps": (DQN_TASK, {"train_freq": 2}, {}, {}),
    "8 windows at every step": (DQN_TASK, {"train_freq": 1, "batch_size": 8}, {}, {}),
    "gamma 0.98": (DQN_TASK, {"gamma": 0.98}, {}, {}),
    "DQN's tau 0.01": (DQN_TASK, {"tau": 0.01}, {}, {}),
    "DQN's tau 0.00125": (DQN_TASK, {"tau": 0.00125}, {}, {}),
    "target copied every 500 steps": (DQN_TASK, {"tau": 1.0, "target_update_interval": 500}, {}, {}),
    "QRDQN, rate falling from 1e-3": (QRDQN_TASK, {"learning_rate": falling(1e-3)}, {}, {}),
    "QRDQN, rate falling from 1e-3, tau 0.005": (QRDQN_TASK, {"learning_rate": falling(1e-3), "tau": 0.005}, {}, {}),
    "QRDQN, rate falling from 1e-3, tau 0.02": (QRDQN_TASK, {"learning_rate": falling(1e-3), "tau": 0.02}, {}, {}),
    "QRDQN, rate falling from 2e-3, tau 0.005": (QRDQN_TASK, {"learning_rate": falling(2e-3), "tau": 0.005}, {}, {}),
    "TD3's default": (TD3_TASK, NOISE, {}, {}),
    "learning after 100 steps": (TD3_TASK, {**NOISE, "learning_starts": 100}, {}, {}),
    "an update of the actor for each of the critics": (TD3_TASK, {**NOISE, "policy_delay": 1}, {}, {}),
}


def change_updates(model: BaseAlgorithm, clip: float | None = None, memory_rate: float | None = None) -> None:
    """Clip the gradients before each update, or give the cells a share of the learning rate."""
    optimizers = [module.optimizer for module in model.policy.modules() if hasattr(module, "optimizer")]
    extractors = [module for module in model.policy.modules() if isinstance(module, LiquidExtractor)]
    cells = {id(parameter) for extractor in extractors for parameter in extractor.cell.parameters()}
    for optimizer in optimizers:
        if clip is not None:
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            optimizer.register_step_pre_hook(lambda *_, all_=parameters: torch.nn.utils.clip_grad_norm_(all_, clip))
        if memory_rate is not None:
            (heads,) = optimizer.param_groups
            memory = {**heads, "params": [p for p in heads["params"] if id(p) in cells]}
            heads["params"] = [p for p in heads["params"] if id(p) not in cells]
            optimizer.add_param_group(memory)

            def slow_down(optimizer: Any, *_: Any) -> None:  # SB3 sets one rate for all groups before each update
                optimizer.param_groups[1]["lr"] = memory_rate * optimizer.param_groups[0]["lr"]

            optimizer.register_step_pre_hook(slow_down)


def run(job: Job) -> dict[str, Any]:
    """Train one seed of one candidate; 20 evaluation episodes on a fresh environment."""
    name, task, seed = job
    torch.set_num_threads(1)
    algorithm, env_id, steps = TASKS[task]
    _, settings, policy_kwargs, updates = CANDIDATES[name]
    policy_kwargs = {"mixed_memory": False, **policy_kwargs}  # the default when these were screened
    model = algorithm("LiquidPolicy", env_id, seed=seed, policy_kwargs=policy_kwargs, device="cpu", **settings)
    change_updates(model, **updates)
    model.learn(steps)
    mean, _ = evaluate_policy(model, make_vec_env(env_id, seed=seed + 10_000), n_eval_episodes=20)
    return {"candidate": name, "task": task, "seed": seed, "returns": {str(steps): float(mean)}}


def main() -> None:
    arguments = parse_arguments(__doc__, list(CANDIDATES), list(TASKS), "choices.jsonl")
    jobs = [
        (name, CANDIDATES[name][0], seed)
        for seed in range(FIRST_SEED, FIRST_SEED + arguments.seeds)
        for name in arguments.only
        if CANDIDATES[name][0] in arguments.tasks
    ]
    rows = run_missing(run, jobs, arguments.out, arguments.jobs)
    for task in arguments.tasks:
        print(f"\n{table(rows, list(CANDIDATES), [task])}")


if __name__ == "__main__":
    main()
