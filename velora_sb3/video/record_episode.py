"""One episode of a trained model as a video."""

from __future__ import annotations

import inspect
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import gymnasium as gym
import numpy as np
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from velora_sb3._headless import prepare_rendering
from velora_sb3._optional import install_line
from velora_sb3.video.writer import DEFAULT_FPS, VideoWriter, picture

MAX_FRAMES = 10_000


def why_no_video(env_id: str) -> str | None:
    """What videos of an env lack here. The env's own renderer is tried with one frame."""
    if find_spec("imageio_ffmpeg") is None:
        return f"no video: {install_line('video')}"
    prepare_rendering()
    try:
        env = gym.make(env_id, render_mode="rgb_array")
        try:
            env.reset(seed=0)
            picture(env.render())
        finally:
            env.close()
    except Exception as error:  # a renderer may raise anything, and none of it shall keep a model from learning
        return f"no video: {env_id} does not render: {first_line(error)}"
    return None


def record_episode(
    model: BaseAlgorithm,
    env: gym.Env[Any, Any] | VecEnv,
    path: Path,
    seed: int | None = None,
    max_frames: int = MAX_FRAMES,
) -> int:
    """Let a model act deterministically for one episode and write what the env renders.

    A recurrent model keeps its state, a maskable one gets its masks. The first frame is the one after the reset, the
    last one that of the state in which the episode ended.
    """
    venv = env if isinstance(env, VecEnv) else DummyVecEnv([lambda: env])
    envs = cast(DummyVecEnv, venv.unwrapped).envs
    filmed = envs[0]
    with VideoWriter(path, frames_per_second(filmed.metadata)) as video:
        film = envs[0] = _Film(filmed, video, max_frames)
        try:
            _play(model, venv, film, seed)
        finally:
            envs[0] = filmed
    return video.frames


def frames_per_second(metadata: dict[str, Any]) -> float:
    """How fast an env's frames are to be shown."""
    return float(metadata.get("render_fps") or DEFAULT_FPS)


def first_line(error: BaseException) -> str:
    """An error in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0]


class _Film(gym.Wrapper[Any, Any, Any, Any]):
    """Makes a frame of every state of one episode, the last one too, which a VecEnv's own reset would hide."""

    def __init__(self, env: gym.Env[Any, Any], video: VideoWriter, max_frames: int) -> None:
        super().__init__(env)
        self.over = False
        self._video, self._max_frames = video, max_frames

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        first = self.env.reset(**kwargs)
        self._shoot(ended=False)
        return first

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        step = self.env.step(action)
        self._shoot(ended=step[2] or step[3])
        return step

    def _shoot(self, ended: bool) -> None:
        if not self.over:
            self._video.write(self.env.render())
            self.over = ended or self._video.frames >= self._max_frames


def _play(model: BaseAlgorithm, venv: VecEnv, film: _Film, seed: int | None) -> None:
    takes_masks = "action_masks" in inspect.signature(model.predict).parameters and is_masking_supported(venv)
    if seed is not None:
        venv.seed(seed)
    observation: Any = venv.reset()
    state, starts = None, np.ones(1, dtype=bool)
    while not film.over:
        masks = {"action_masks": get_action_masks(venv)} if takes_masks else {}
        action, state = model.predict(observation, state=state, episode_start=starts, deterministic=True, **masks)
        observation, _, starts, _ = venv.step(action)
