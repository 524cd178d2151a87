"""Rendering where there is no display."""

from __future__ import annotations

import os
import sys
from typing import Any

import gymnasium as gym


def prepare_rendering() -> None:
    """Choose drivers of MuJoCo and pygame that need no display, if there is none. What the user has set stays.

    Both read their environment once, so this has to come before the first env is made. Of SDL's two drivers,
    ``offscreen`` draws; with ``dummy`` some envs, such as highway-env's, draw nothing.
    """
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    # SDL's own handler ignores SIGTERM, which SB3's SubprocVecEnv and job schedulers send to end a process.
    os.environ.setdefault("SDL_NO_SIGNAL_HANDLERS", "1")
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        os.environ.setdefault("MUJOCO_GL", "egl")
        os.environ.setdefault("SDL_VIDEODRIVER", "offscreen")


def render(env: gym.Env[Any, Any]) -> Any:
    """Render an env, which may be the first one in its process to do so."""
    prepare_rendering()
    return env.render()
