"""How soon does RLlib's PPO learn CartPole without velocities with ``LiquidRLModule``?

``python -m tests.benchmarks.rllib --seeds 0 1 2`` trains until the mean return of the last 100 training episodes
reaches the target, or for 300,000 steps; then 20 episodes in a fresh environment are evaluated with deterministic
actions. Episodes end after 500 steps, as in CartPole-v1. It needs the extra ``rllib``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import deque

import numpy as np
import ray
from gymnasium.wrappers import TimeLimit
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.core.rl_module.rl_module import RLModule, RLModuleSpec
from ray.rllib.examples.envs.classes.stateless_cartpole import StatelessCartPole
from ray.tune.registry import register_env
from stable_baselines3.common.evaluation import evaluate_policy

from velora_sb3.callbacks import EpisodeCallback
from velora_sb3.rllib import LiquidRLModule, as_rllib, to_sb3

ENV = "stateless-cartpole-500"
RLLIB = "rllib-lstm"
STEPS = 300_000
EVALUATION_EPISODES = 20


class Returns(EpisodeCallback):
    """The returns of the last 100 training episodes; RLlib's own mean is of one iteration's, which are few."""

    def __init__(self) -> None:
        super().__init__()
        self.last: deque[float] = deque(maxlen=100)

    def on_episode_end(self, *, episode, **kwargs) -> None:
        self.last.append(episode.get_return())

    @property
    def mean(self) -> float:
        return float(np.mean(self.last)) if len(self.last) == self.last.maxlen else 0.0


def config(seed: int, cell: str, mixed_memory: bool) -> PPOConfig:
    """PPO in this process with RL Zoo's settings for CartPole, but batches of 512 steps; sequences of 32."""
    if cell == RLLIB:
        own = DefaultModelConfig(use_lstm=True, lstm_cell_size=64, max_seq_len=32, fcnet_hiddens=[64])
        spec = RLModuleSpec(model_config=own)
    else:
        settings = {"cell": cell, "units": 64, "mixed_memory": mixed_memory, "max_seq_len": 32}
        spec = RLModuleSpec(module_class=LiquidRLModule, model_config=settings)
    return (
        PPOConfig()
        .environment(ENV)
        .env_runners(num_env_runners=0, num_envs_per_env_runner=8)
        .debugging(seed=seed, log_level="ERROR")
        .training(
            lr=[[0, 1e-3], [STEPS, 0.0]],
            train_batch_size_per_learner=512,
            minibatch_size=256,
            num_epochs=20,
            gamma=0.98,
            lambda_=0.8,
            clip_param=0.2,
            grad_clip=0.5,
            entropy_coeff=0.0,
            use_kl_loss=False,
            vf_loss_coeff=0.5,
            vf_clip_param=1e6,  # RLlib's 10 stops the critic's gradient where it is wrong by more than about 3
        )
        .rl_module(rl_module_spec=spec)
    )


def learn(seed: int, cell: str, mixed_memory: bool, steps: int, target: float) -> dict[str, float | None]:
    """One run: steps, mean return of the last 100 training episodes and of the evaluation, seconds."""
    returns = Returns()
    algorithm = config(seed, cell, mixed_memory).callbacks(as_rllib(returns)).build_algo()
    sampled, start = 0, time.monotonic()
    try:
        while sampled < steps and returns.mean < target:
            sampled = int(algorithm.train()["num_env_steps_sampled_lifetime"])
            print(f"seed {seed}: {sampled:7,} steps, {returns.mean:6.1f}", flush=True)
        seconds, training = time.monotonic() - start, returns.mean
        evaluated = None if cell == RLLIB else evaluate(algorithm.get_module(), seed + 10_000)
    finally:
        algorithm.stop()
    return {"seed": seed, "steps": sampled, "training": training, "evaluation": evaluated, "seconds": seconds}


def evaluate(module: RLModule, seed: int) -> float:
    """Mean return of 20 episodes in a fresh environment, acting deterministically as a model of SB3."""
    model = to_sb3(module, TimeLimit(StatelessCartPole(), 500), seed=seed, device="cpu")
    mean, _ = evaluate_policy(model, model.get_env(), EVALUATION_EPISODES)
    return float(mean)


def main() -> None:
    """Train with each seed and print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--cell", default="cfc", help=f"of LiquidRLModule; {RLLIB}: RLlib's default module with its LSTM"
    )
    parser.add_argument("--mixed-memory", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--target", type=float, default=450.0)
    arguments = parser.parse_args()
    register_env(ENV, lambda _: TimeLimit(StatelessCartPole(), 500))
    ray.init(num_cpus=1, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
    try:
        for seed in arguments.seeds:
            print(
                json.dumps(learn(seed, arguments.cell, arguments.mixed_memory, arguments.steps, arguments.target)),
                flush=True,
            )
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
