"""The benchmark suite: learning runs of every candidate on every task, and training speeds."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from gymnasium import spaces
from sb3_contrib import RecurrentPPO as ContribRecurrentPPO
from stable_baselines3 import SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack, VecNormalize, sync_envs_normalization

from velora_sb3.algorithms import RecurrentPPO, RecurrentSAC
from velora_sb3.benchmarks.runs import Job
from velora_sb3.benchmarks.tasks import CARTPOLE, PENDULUM, TASKS, Candidate, Task
from velora_sb3.benchmarks.timing import time_in_turns

EVALUATION_EPISODES = 20


def make_env(task: Task, candidate: Candidate, n_envs: int, seed: int) -> VecEnv:
    """The environments of a task, with a candidate's wrappers."""
    env: VecEnv = make_vec_env(task.make_env, n_envs, seed=seed)
    if candidate.frames > 1:
        env = VecFrameStack(env, candidate.frames)
    if candidate.normalize:
        keys = ["observation"] if isinstance(env.observation_space, spaces.Dict) else None  # no timespans
        env = VecNormalize(env, gamma=candidate.settings["gamma"], norm_obs_keys=keys)
    return env


def train(job: Job) -> dict[str, Any]:
    """Train one seed of one candidate on one task; evaluate it on fresh environments."""
    name, task_name, seed = job
    torch.set_num_threads(1)
    task = TASKS[task_name]
    candidate = task.candidates[name]
    model = make_model(task, candidate, seed)
    returns: dict[str, float] = {}
    done = 0
    for steps in task.steps:
        model.learn(steps - done, reset_num_timesteps=done == 0)
        done = steps
        returns[str(steps)] = evaluate(model, task, candidate, seed)
    return {"candidate": name, "task": task_name, "seed": seed, "returns": returns}


def make_model(task: Task, candidate: Candidate, seed: int) -> BaseAlgorithm:
    """A candidate before training."""
    model: BaseAlgorithm = candidate.algorithm(
        candidate.policy,
        make_env(task, candidate, candidate.n_envs, seed),
        seed=seed,
        policy_kwargs=dict(candidate.policy_kwargs),
        device="cpu",
        **candidate.settings,
    )
    return model


def evaluate(model: BaseAlgorithm, task: Task, candidate: Candidate, seed: int) -> float:
    """Mean return of 20 episodes in a fresh environment, acting deterministically."""
    env = make_env(task, candidate, 1, seed + 10_000)
    if isinstance(env, VecNormalize):
        sync_envs_normalization(model.get_env(), env)  # type: ignore[arg-type]
        env.training = env.norm_reward = False
    mean, _ = evaluate_policy(model, env, n_eval_episodes=EVALUATION_EPISODES)
    return float(mean)  # type: ignore[arg-type]


def speeds(rounds: int) -> dict[str, float]:
    """Training steps per second, interleaved in one process.

    RecurrentPPO with RL Zoo's settings for CartPoleNoVel: every memory, and sb3-contrib's own class with its LSTM.
    RecurrentSAC with its defaults and SAC with ``MlpPolicy`` on PendulumNoVel.
    """
    on_policy = TASKS["CartPoleNoVel, on policy"]
    candidates = {name: one for name, one in on_policy.candidates.items() if one.algorithm is RecurrentPPO}
    lstm = candidates["RecurrentPPO, lstm"]
    heads = {name: value for name, value in lstm.policy_kwargs.items() if name not in ("cell", "units")}
    candidates["sb3-contrib's RecurrentPPO, MlpLstmPolicy"] = replace(
        lstm,
        algorithm=ContribRecurrentPPO,
        policy="MlpLstmPolicy",
        policy_kwargs={**heads, "lstm_hidden_size": lstm.policy_kwargs["units"]},
    )
    models: dict[str, tuple[BaseAlgorithm, int]] = {
        f"{name}, {CARTPOLE}": (make_model(on_policy, candidate, 0), 2_048) for name, candidate in candidates.items()
    }
    models[f"RecurrentSAC, {PENDULUM}"] = (RecurrentSAC("LiquidPolicy", PENDULUM, seed=0, device="cpu"), 300)
    models[f"SAC, MlpPolicy, {PENDULUM}"] = (SAC("MlpPolicy", PENDULUM, seed=0, device="cpu"), 300)
    turns = {name: partial(model.learn, steps, reset_num_timesteps=False) for name, (model, steps) in models.items()}
    seconds = time_in_turns(turns, rounds, warmup=2)
    return {name: steps / seconds[name] for name, (_, steps) in models.items()}
