"""One episode of a trained model as a video."""

from __future__ import annotations

import inspect
from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm

from velora_sb3._headless import prepare_rendering
from velora_sb3._optional import install_line

MAX_FRAMES = 10_000
DEFAULT_FPS = 30


def why_no_video(env_id: str) -> str | None:
    """What videos of an env lack here. The env's own renderer is tried with one frame.

    Args:
        env_id: The env's id.

    Returns:
        A line that says what is missing; None if videos can be made.
    """
    if find_spec("imageio_ffmpeg") is None:
        return f"no video: {install_line('video')}"
    prepare_rendering()
    try:
        env = gym.make(env_id, render_mode="rgb_array")
        try:
            env.reset(seed=0)
            _frame(env)
        finally:
            env.close()
    except Exception as error:  # a renderer may raise anything, and none of it shall keep a model from learning
        return f"no video: {env_id} does not render: {_first_line(error)}"
    return None


def record_episode(
    model: BaseAlgorithm, env: gym.Env[Any, Any], path: Path, seed: int | None = None, max_frames: int = MAX_FRAMES
) -> int:
    """Let a model act deterministically for one episode and write what the env renders.

    Frames go to the encoder one by one, so a long episode takes no more memory than a short one. A recurrent model
    keeps its state. The first frame is the one after the reset.

    Args:
        model: The trained model.
        env: An env with ``render_mode="rgb_array"``, not vectorized.
        path: The file to write, ``.mp4``.
        seed: Seed of the episode.
        max_frames: Where to cut an episode that does not end.

    Returns:
        Number of frames.
    """
    observation, _ = env.reset(seed=seed)
    state, starts = None, np.ones(1, dtype=bool)
    frame = _frame(env)
    encoder = open_encoder(path, frame, float(env.metadata.get("render_fps") or DEFAULT_FPS))
    try:
        encoder.send(frame)
        count, ended = 1, False
        while not ended and count < max_frames:
            masks = {"action_masks": env.get_wrapper_attr("action_masks")()} if _is_masked(model) else {}
            action, state = model.predict(observation, state=state, episode_start=starts, deterministic=True, **masks)
            starts = np.zeros(1, dtype=bool)
            observation, _, terminated, truncated, _ = env.step(action)
            encoder.send(_frame(env))
            count, ended = count + 1, terminated or truncated
    finally:
        encoder.close()
    return count


def open_encoder(path: Path, frame: np.ndarray, fps: float) -> Generator[None, np.ndarray | None, None]:
    """Start an encoder for frames like the one given.

    Args:
        path: The file to write.
        frame: A frame ``(height, width, 3)``, for its size; both sides even, as H.264 wants them.
        fps: Frames per second.

    Returns:
        A generator: ``send`` it frames, then ``close`` it.
    """
    import imageio_ffmpeg  # type: ignore[import-untyped]

    height, width = frame.shape[:2]
    # imageio-ffmpeg's own choice would stretch frames to multiples of 16.
    encoder: Generator[None, np.ndarray | None, None] = imageio_ffmpeg.write_frames(
        str(path), (width, height), fps=fps, macro_block_size=2, quality=8, ffmpeg_log_level="error"
    )
    encoder.send(None)
    return encoder


def _is_masked(model: BaseAlgorithm) -> bool:
    return "action_masks" in inspect.signature(model.policy.predict).parameters


def _frame(env: gym.Env[Any, Any]) -> np.ndarray:
    frame = env.render()
    if not isinstance(frame, np.ndarray) or frame.ndim != 3 or frame.shape[2] != 3:
        raise ValueError(f"render() gave {type(frame).__name__}, not a picture (height, width, 3)")
    height, width = frame.shape[:2]
    even = frame[: height - height % 2, : width - width % 2]  # H.264 wants even sides
    return np.ascontiguousarray(even, dtype=np.uint8)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
