"""Rendering on a machine without a display, in processes of their own: SDL reads its environment once."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("pygame")

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems always have a display")


def run(program, **variables):
    """Run a program without a display; returns its return code and the lines that it printed."""
    hidden = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER", "SDL_NO_SIGNAL_HANDLERS", "MUJOCO_GL")
    env = {**{name: value for name, value in os.environ.items() if name not in hidden}, **variables}
    command = [sys.executable, "-c", textwrap.dedent(program)]
    result = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    return result.returncode, result.stdout.split()


def test_envs_that_draw_nothing_with_the_dummy_driver_are_recorded():
    program = """
        import os

        from velora_sb3._headless import prepare_rendering

        prepare_rendering()
        import pygame

        pygame.display.init()
        screen = pygame.display.set_mode((8, 8))
        if os.environ.get("SDL_VIDEODRIVER") != "dummy":  # as in highway-env
            screen.fill((255, 255, 255))
        print(pygame.surfarray.array3d(screen).mean())
    """
    assert run(program)[1] == ["255.0"]
    assert run(program, SDL_VIDEODRIVER="dummy")[1] == ["0.0"]  # what the user has set stays


def test_sigterm_still_ends_a_process_that_has_rendered():
    program = """
        import os, signal

        import gymnasium as gym

        from velora_sb3._headless import render

        env = gym.make("CartPole-v1", render_mode="rgb_array")
        env.reset()
        print(render(env).ndim, flush=True)
        os.kill(os.getpid(), signal.SIGTERM)
        print("alive")
    """
    assert run(program) == (-signal.SIGTERM, ["3"])
