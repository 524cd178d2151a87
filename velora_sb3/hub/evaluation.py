"""The returns of a model and a video of it, in environments that observe as those of its training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from sb3_contrib.common.maskable.evaluation import evaluate_policy as evaluate_masked
from sb3_contrib.common.maskable.utils import is_masking_supported
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.utils import check_for_correct_spaces
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecEnvWrapper, VecNormalize

from velora_sb3._call_env import vec_layers
from velora_sb3._headless import prepare_rendering
from velora_sb3._normalization import ObservationStatistics, kept_with, observation_normalizer
from velora_sb3._optional import install_line, missing_modules
from velora_sb3._validation import takes_masks
from velora_sb3.callbacks.hooks.eval_callback import warn_of_long_episode
from velora_sb3.video.record_episode import first_line, record_episode
from velora_sb3.video.rendering_env import open_video_env


class _Normalized(VecEnvWrapper):
    """Environments whose observations are normalized by statistics that no longer change."""

    def __init__(self, venv: VecEnv, statistics: ObservationStatistics) -> None:
        super().__init__(venv)
        self._statistics = statistics

    def reset(self) -> Any:
        return self._statistics.normalize_obs(self.venv.reset())

    def step_wait(self) -> Any:
        observations, *rest = self.venv.step_wait()
        return (self._statistics.normalize_obs(observations), *rest)


@contextmanager
def evaluation_env(model: BaseAlgorithm, env: gym.Env[Any, Any] | VecEnv | str) -> Iterator[VecEnv]:
    """Environments to evaluate in, normalized as in training; closed at the end if they were given by their id."""
    made = _make(env) if isinstance(env, str) else env
    try:
        venv = made if isinstance(made, VecEnv) else DummyVecEnv([lambda: Monitor(made)])
        with _normalized(model, venv) as normalized:
            wrapped = BaseAlgorithm._wrap_env(normalized, verbose=0)
            try:
                check_for_correct_spaces(wrapped, model.observation_space, model.action_space)
            except ValueError as error:
                raise ValueError(f"eval_env does not fit the model: {error}") from error
            yield wrapped
    finally:
        if isinstance(env, str):
            made.close()


def _make(env_id: str) -> gym.Env[Any, Any]:
    prepare_rendering()
    env = gym.make(env_id)
    if "rgb_array" not in (env.metadata.get("render_modes") or ()):
        return env
    env.close()
    return gym.make(env_id, render_mode="rgb_array")


@contextmanager
def _normalized(model: BaseAlgorithm, venv: VecEnv) -> Iterator[VecEnv]:
    """The environments under the model's statistics, which do not change; rewards are the environment's."""
    trained = observation_normalizer(model.get_env())
    found = observation_normalizer(venv)
    if found is None:
        statistics = kept_with(model) if trained is None else ObservationStatistics.of(trained)
        yield venv if statistics is None else _Normalized(venv, statistics)
        return
    layers = [one for one in vec_layers(venv) if isinstance(one, VecNormalize)]
    before = [(one.training, one.norm_reward) for one in layers]
    for one in layers:
        one.training = one.norm_reward = False
    if trained is not None and trained is not found and trained.norm_obs:
        found.obs_rms = deepcopy(trained.obs_rms)
    try:
        yield venv
    finally:
        for one, (training, norm_reward) in zip(layers, before, strict=True):
            one.training, one.norm_reward = training, norm_reward


def evaluate(model: BaseAlgorithm, venv: VecEnv, n_episodes: int, seed: int | None) -> dict[str, Any]:
    """Returns and lengths of episodes, by the names that other libraries write into ``results.json`` on the Hub."""
    if seed is not None:
        venv.seed(seed)
    masked = takes_masks(model) and is_masking_supported(venv)
    run: Any = evaluate_masked if masked else evaluate_policy
    returns, lengths = run(
        model, venv, n_eval_episodes=n_episodes, callback=warn_of_long_episode, return_episode_rewards=True, warn=False
    )
    if not np.isfinite(returns).all():
        raise ValueError(
            f"{np.count_nonzero(~np.isfinite(returns))} of {len(returns)} episodes in eval_env have a return that is "
            "not a finite number: fix its rewards, or push without an evaluation (eval_env=None, --episodes 0)"
        )
    return {
        "mean_reward": float(np.mean(returns)),
        "std_reward": float(np.std(returns)),
        "is_deterministic": True,
        "n_eval_episodes": len(returns),
        "eval_datetime": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "seed": seed,
        "returns": [float(one) for one in returns],
        "lengths": [int(one) for one in lengths],
    }


def record(model: BaseAlgorithm, venv: VecEnv | None, path: Path, seed: int | None) -> str | None:
    """Record an episode in the environment if it renders, else in a copy that does; why not, if there is no video."""
    source = model.get_env() if venv is None else venv
    if source is None:
        return f"no {path.name}: pass eval_env="
    if missing_modules("video"):
        return f"no {path.name}: {install_line('video')}"
    prepare_rendering()
    try:
        ready = source is venv and source.num_envs == 1 and isinstance(source.unwrapped, DummyVecEnv)
        if ready and source.render_mode == "rgb_array":
            record_episode(model, source, path, seed)
        else:
            copied = open_video_env(model.get_env() or source)
            try:
                record_episode(model, copied, path, seed)
            finally:
                copied.close()
    except Exception as error:  # a renderer or an encoder may raise anything, and the model is what matters
        path.unlink(missing_ok=True)
        return f"no {path.name}: {first_line(error)}"
    return None
