"""Record one episode of a trained model."""

from __future__ import annotations

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
from velora_sb3._validation import takes_masks
from velora_sb3.video.writer import DEFAULT_FPS, VideoWriter, as_frame

MAX_FRAMES = 10_000


def video_unavailable_reason(env_id: str) -> str | None:
    """Why an env cannot be recorded, after rendering one frame of it; None if it can."""
    if find_spec("imageio_ffmpeg") is None:
        return f"no video: {install_line('video')}"
    prepare_rendering()
    try:
        env = gym.make(env_id, render_mode="rgb_array")
        try:
            env.reset(seed=0)
            as_frame(env.render())
        finally:
            env.close()
    except Exception as error:  # a renderer may raise anything, and none of it is worth a training run
        return f"no video: {env_id} cannot be rendered: {first_line(error)}"
    return None


def record_episode(
    model: BaseAlgorithm,
    env: gym.Env[Any, Any] | VecEnv,
    path: Path,
    seed: int | None = None,
    max_frames: int = MAX_FRAMES,
) -> int:
    """Record one episode of the deterministic policy, from the reset to the final state.

    A recurrent model keeps its state, a maskable one gets its action masks.

    Args:
        model: A trained model.
        env: The env, with ``render_mode="rgb_array"``; a vectorized one must hold a single env.
        path: The ``.mp4`` file to write.
        seed: Seed of the reset; None for no seed.
        max_frames: The recording stops after this many frames.

    Returns:
        The number of frames.

    Raises:
        ValueError: If ``render()`` does not return RGB arrays of one shape.
    """
    venv = env if isinstance(env, VecEnv) else DummyVecEnv([lambda: env])
    envs = cast(DummyVecEnv, venv.unwrapped).envs
    original = envs[0]
    with VideoWriter(path, frames_per_second(original.metadata)) as video:
        recorded = envs[0] = _RecordedEnv(original, video, max_frames)
        try:
            _play(model, venv, recorded, seed)
        finally:
            envs[0] = original
    return video.frames


def frames_per_second(metadata: dict[str, Any]) -> float:
    """The frame rate that an env's metadata asks for."""
    return float(metadata.get("render_fps") or DEFAULT_FPS)


def first_line(error: BaseException) -> str:
    """The first line of an error's message, else its type."""
    return (str(error).splitlines() or [type(error).__name__])[0]


class _RecordedEnv(gym.Wrapper[Any, Any, Any, Any]):
    """Writes a frame of every state of one episode; outside of a VecEnv, whose reset would hide the final one."""

    def __init__(self, env: gym.Env[Any, Any], video: VideoWriter, max_frames: int) -> None:
        super().__init__(env)
        self.done = False
        self._video, self._max_frames = video, max_frames

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        first = self.env.reset(**kwargs)
        self._write_frame(ended=False)
        return first

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        step = self.env.step(action)
        self._write_frame(ended=step[2] or step[3])
        return step

    def _write_frame(self, ended: bool) -> None:
        if not self.done:
            self._video.write(self.env.render())
            self.done = ended or self._video.frames >= self._max_frames


def _play(model: BaseAlgorithm, venv: VecEnv, recorded: _RecordedEnv, seed: int | None) -> None:
    masked = takes_masks(model) and is_masking_supported(venv)
    if seed is not None:
        venv.seed(seed)
    observation: Any = venv.reset()
    state, starts = None, np.ones(1, dtype=bool)
    while not recorded.done:
        masks = {"action_masks": get_action_masks(venv)} if masked else {}
        action, state = model.predict(observation, state=state, episode_start=starts, deterministic=True, **masks)
        observation, _, starts, _ = venv.step(action)
