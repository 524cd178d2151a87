"""Whether a model has learned anything, and signs of why not."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

from velora_sb3.callbacks.base.preserve_rng import preserve_rng

SAME = 1e-6  # actions that differ by less do not differ
MOST = 0.95  # a share above which a kind of action is worth a word


@dataclass(frozen=True)
class LearningDiagnosis:
    """How a model does beside random actions.

    Attributes:
        episode_rewards: Return of each episode of the model.
        random_rewards: Return of each episode of random actions, in the same environment.
        findings: What looks wrong, in sentences; empty if nothing does.
    """

    episode_rewards: list[float]
    random_rewards: list[float]
    findings: list[str]

    @property
    def average_reward(self) -> float:
        """Mean return of the model."""
        return float(np.mean(self.episode_rewards))


def diagnose_learning(
    model: BaseAlgorithm, env: gym.Env[Any, Any] | VecEnv, n_episodes: int = 5, verbose: int = 1
) -> LearningDiagnosis:
    """Let the model and random actions play, and compare.

    Equal returns of all episodes are no finding: a model without noise does the same on the same prices.

    Args:
        model: The model.
        env: Where to play; not the environment of a training run that is to go on. The model's ``VecNormalize`` is put
            around it if need be.
        n_episodes: How many episodes for each.
        verbose: 1 to print the diagnosis.

    Returns:
        Returns and findings.
    """
    if n_episodes < 1:
        raise ValueError(f"n_episodes must be at least 1, got {n_episodes}")
    vec_env = env if isinstance(env, VecEnv) else DummyVecEnv([lambda: env])
    normalizer = None if isinstance(vec_env, VecNormalize) else model.get_vec_normalize_env()
    with preserve_rng(model):
        returns, actions = _play(model, vec_env, normalizer, n_episodes)
        random, _ = _play(None, vec_env, None, n_episodes)
    findings = _findings(model, returns, random, actions)
    if verbose:
        print(f"model:          {np.mean(returns):.4g} on average, {min(returns):.4g} to {max(returns):.4g}")
        print(f"random actions: {np.mean(random):.4g} on average, {min(random):.4g} to {max(random):.4g}")
        print("\n".join(f"- {finding}" for finding in findings) or "nothing looks wrong")
    return LearningDiagnosis(returns, random, findings)


def _play(
    model: BaseAlgorithm | None, env: VecEnv, normalizer: VecNormalize | None, n_episodes: int
) -> tuple[list[float], np.ndarray]:
    """Returns of episodes, in the environment's own reward, and all actions ``(T, ...)``."""
    own = env if isinstance(env, VecNormalize) else None
    observations, state, starts = env.reset(), None, np.ones(env.num_envs, dtype=bool)
    space = copy.deepcopy(env.action_space)  # its generator is the environment's own
    space.seed(0)
    sums, taken = np.zeros(env.num_envs), []
    returns: list[float] = []
    while len(returns) < n_episodes:
        if model is None:
            actions = np.array([space.sample() for _ in range(env.num_envs)])
        else:
            seen: Any = observations if normalizer is None else normalizer.normalize_obs(observations)  # type: ignore[arg-type]
            actions, state = model.predict(seen, state, starts, deterministic=True)
        observations, rewards, starts, _ = env.step(actions)
        taken.append(actions)
        sums += rewards if own is None else own.get_original_reward()
        for index in np.flatnonzero(starts):
            returns.append(float(sums[index]))
            sums[index] = 0
    return returns[:n_episodes], np.concatenate(taken)


def _findings(model: BaseAlgorithm, returns: list[float], random: list[float], actions: np.ndarray) -> list[str]:
    findings = []
    broken = [name for name, weights in model.policy.named_parameters() if not weights.isfinite().all()]
    if broken:
        findings.append(f"{broken[0]} is not finite: training diverged, lower the learning rate")
    if np.mean(returns) <= np.mean(random):
        findings.append("it earns no more than random actions: train longer, or look at rewards and observations")
    flat = actions.reshape(len(actions), -1).astype(np.float64)
    if np.ptp(flat, axis=0).max() < SAME:
        findings.append("it always takes the same action: it does not react to what it sees")
    elif isinstance(model.action_space, spaces.Box):
        low, high = model.action_space.low.ravel(), model.action_space.high.ravel()
        at_limit = float(np.mean((flat <= low + SAME) | (flat >= high - SAME)))
        if at_limit > MOST:
            findings.append(f"{at_limit:.0%} of its actions are at their limits: normalize observations")
    if model.num_timesteps == 0:
        findings.append("it has not been trained yet")
    return findings
