"""Whether a model has learned anything, and signs of why it has not."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv, VecNormalize, unwrap_vec_normalize

from velora_sb3._normalization import observation_normalizer
from velora_sb3._validation import check_integer
from velora_sb3.callbacks.base.episodes import raw_rewards
from velora_sb3.callbacks.base.preserve_rng import preserve_rng
from velora_sb3.finrl.normalization import as_vec_env, check_fits

ACTION_TOLERANCE = 1e-6  # smaller differences between actions do not count
AT_LIMIT_SHARE = 0.95  # a larger share of actions at their limits is a finding


@dataclass(frozen=True)
class LearningDiagnosis:
    """How a model compares with random actions.

    Attributes:
        episode_rewards: Return of each of the model's episodes; NaN if its weights or actions are not finite.
        random_rewards: Return of each episode of random actions in the same environment.
        findings: What looks wrong, one sentence each; empty if nothing does.
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
    """Compare a model with random actions, and look for common failures.

    Identical returns in every episode are not a finding: a deterministic policy repeats itself on the same prices.

    Args:
        model: The model.
        env: The environment to evaluate in. Do not pass the environment of a run that you mean to continue: its
            episodes are interrupted. Observations are normalized with the model's ``VecNormalize`` where ``env`` does
            not bring its own.
        n_episodes: Episodes to play with the model, and again with random actions.
        verbose: 1 to print the diagnosis.

    Returns:
        The returns and the findings.

    Raises:
        ValueError: If ``n_episodes`` is not a positive integer, or the environment does not fit the model.
    """
    n_episodes = check_integer("n_episodes", n_episodes)
    vec_env = as_vec_env(env)
    check_fits(model, vec_env)
    normalizer = None if unwrap_vec_normalize(vec_env) is not None else observation_normalizer(model.get_env())
    broken = [name for name, weights in model.policy.named_parameters() if not weights.isfinite().all()]
    with preserve_rng(model):
        # A model with broken weights cannot act.
        returns, actions = ([math.nan] * n_episodes, None) if broken else _play(model, vec_env, normalizer, n_episodes)
        random, _ = _play(None, vec_env, None, n_episodes)
    if actions is None:
        findings = [f"{broken[0]} is not finite: training diverged, lower the learning rate"]
    else:
        findings = _findings(model, returns, random, actions)
    if model.num_timesteps == 0:
        findings.append("the model has not been trained yet")
    if verbose:
        print(f"model:          {_summary(returns)}")
        print(f"random actions: {_summary(random)}")
        print("\n".join(f"- {finding}" for finding in findings) or "no problems found")
    return LearningDiagnosis(returns, random, findings)


def _summary(returns: list[float]) -> str:
    return f"mean return {np.mean(returns):.4g} (min {min(returns):.4g}, max {max(returns):.4g})"


def _play(
    model: BaseAlgorithm | None, env: VecEnv, normalizer: VecNormalize | None, n_episodes: int
) -> tuple[list[float], np.ndarray]:
    """Episode returns, in unnormalized rewards, NaN if an action is not finite; and all actions ``(T, ...)``."""
    observations, state, starts = env.reset(), None, np.ones(env.num_envs, dtype=bool)
    space = copy.deepcopy(env.action_space)  # the environment keeps its own generator
    space.seed(0)
    sums = np.zeros(env.num_envs)
    played: list[np.ndarray] = []
    returns: list[float] = []
    while len(returns) < n_episodes:
        if model is None:
            actions = np.array([space.sample() for _ in range(env.num_envs)])
        else:
            seen: Any = observations if normalizer is None else normalizer.normalize_obs(observations)  # type: ignore[arg-type]
            actions, state = model.predict(seen, state, starts, deterministic=True)
        if not np.isfinite(actions).all():  # a trading environment refuses them
            return [math.nan] * n_episodes, np.concatenate([*played, actions])
        observations, rewards, starts, _ = env.step(actions)
        played.append(actions)
        sums += raw_rewards(env, rewards)
        for index in np.flatnonzero(starts):
            returns.append(float(sums[index]))
            sums[index] = 0
    return returns[:n_episodes], np.concatenate(played)


def _findings(model: BaseAlgorithm, returns: list[float], random: list[float], actions: np.ndarray) -> list[str]:
    if not np.isfinite(actions).all():
        return ["the model's actions are not finite: check the observations"]
    findings = []
    if np.mean(returns) <= np.mean(random):
        findings.append("the model does no better than random actions: train longer, or check rewards and observations")
    flat = actions.reshape(len(actions), -1).astype(np.float64)
    if np.ptp(flat, axis=0).max() < ACTION_TOLERANCE:
        findings.append("the model always takes the same action: it ignores its observations")
    elif isinstance(model.action_space, spaces.Box):
        low, high = model.action_space.low.ravel(), model.action_space.high.ravel()
        at_limit = float(np.mean((flat <= low + ACTION_TOLERANCE) | (flat >= high - ACTION_TOLERANCE)))
        if at_limit > AT_LIMIT_SHARE:
            findings.append(f"{at_limit:.0%} of the actions are at their limits: normalize the observations")
    return findings
