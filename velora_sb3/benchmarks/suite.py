"""The benchmark suite: learning runs of every candidate on every task."""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack, VecNormalize, sync_envs_normalization

from velora_sb3.benchmarks.runs import Job
from velora_sb3.benchmarks.tasks import TASKS, Candidate, Task

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


def make_model(task: Task, candidate: Candidate, seed: int, device: str = "cpu") -> BaseAlgorithm:
    """A candidate before training."""
    model: BaseAlgorithm = candidate.algorithm(
        candidate.policy,
        make_env(task, candidate, candidate.n_envs, seed),
        seed=seed,
        policy_kwargs=dict(candidate.policy_kwargs),
        device=device,
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
