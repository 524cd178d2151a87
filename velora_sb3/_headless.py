"""Rendering where there is no display."""

from __future__ import annotations

import os
import sys


def prepare_rendering() -> None:
    """Tell MuJoCo and pygame that there is no display, if there is none. What the user has set stays.

    Both read their environment once, so this has to come before the first env is made.
    """
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        os.environ.setdefault("MUJOCO_GL", "egl")
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
