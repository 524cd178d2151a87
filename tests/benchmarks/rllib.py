"""How soon does RLlib's PPO learn CartPole without velocities with ``LiquidRLModule``?

``python -m tests.benchmarks.rllib --seeds 0 1 2`` trains until the mean return of the last 100 training episodes
reaches the target, or for 300,000 steps, and prints how far it came. Episodes end after 500 steps, as in CartPole-v1.
It needs the extra ``rllib``.
"""

from __future__ import annotations

import argparse
import json
import time

import ray
from gymnasium.wrappers import TimeLimit
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.examples.envs.classes.stateless_cartpole import StatelessCartPole
from ray.tune.registry import register_env

from velora_sb3.rllib import LiquidRLModule


def config(seed: int, cell: str) -> PPOConfig:
    """PPO in this process: 8 environments, batches of 2,048 steps, sequences of 32."""
    return (
        PPOConfig()
        .environment("stateless-cartpole-500")
        .env_runners(num_env_runners=0, num_envs_per_env_runner=8)
        .debugging(seed=seed, log_level="ERROR")
        .training(
            lr=1e-3,
            train_batch_size_per_learner=2048,
            minibatch_size=256,
            num_epochs=8,
            lambda_=0.95,
            clip_param=0.2,
            entropy_coeff=0.0,
            use_kl_loss=False,
            vf_clip_param=1e6,  # RLlib's 10 stops the critic's gradient where it is wrong by more than about 3
        )
        .rl_module(
            rl_module_spec=RLModuleSpec(
                module_class=LiquidRLModule,
                model_config={"cell": cell, "units": 64, "max_seq_len": 32},
            )
        )
    )


def learn(seed: int, cell: str, steps: int, target: float) -> dict[str, float]:
    """One run: the best mean return, the steps, and the seconds."""
    algorithm, best, sampled, start = config(seed, cell).build_algo(), 0.0, 0, time.monotonic()
    try:
        while sampled < steps and best < target:
            result = algorithm.train()
            sampled = int(result["num_env_steps_sampled_lifetime"])
            mean = float(result["env_runners"]["episode_return_mean"])
            best = max(best, mean)
            print(f"seed {seed}: {sampled:7,} steps, {mean:6.1f}", flush=True)
    finally:
        algorithm.stop()
    return {"seed": seed, "best": best, "steps": sampled, "seconds": time.monotonic() - start}


def main() -> None:
    """Train with each seed and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--cell", default="cfc")
    parser.add_argument("--steps", type=int, default=300_000)
    parser.add_argument("--target", type=float, default=450.0)
    arguments = parser.parse_args()
    register_env("stateless-cartpole-500", lambda _: TimeLimit(StatelessCartPole(), 500))
    ray.init(num_cpus=1, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
    try:
        for seed in arguments.seeds:
            print(json.dumps(learn(seed, arguments.cell, arguments.steps, arguments.target)), flush=True)
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
