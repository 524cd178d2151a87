"""The checks of ``velora-sb3 doctor``: each tries the real thing."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from velora_sb3._optional import installed_version

BASE = (
    "velora-sb3", "stable-baselines3", "sb3-contrib", "torch", "gymnasium", "ncps", "numpy", "pandas", "safetensors",
    "rich", "tqdm", "PyYAML", "Jinja2",
)  # fmt: skip
MUJOCO_TIMEOUT_S = 60
_MUJOCO_SCRIPT = """
import gymnasium
env = gymnasium.make("InvertedPendulum-v5", render_mode="rgb_array")
env.reset(seed=0)
print(env.render().shape)
"""


@dataclass(frozen=True)
class Attempt:
    """The result of a check.

    Attributes:
        works: Whether it worked.
        detail: The result, or the error.
    """

    works: bool
    detail: str


def version_of(packages: tuple[str, ...]) -> dict[str, str]:
    """Versions of Python and of packages."""
    from velora_sb3 import __version__

    found = {"python": f"{platform.python_version()}, {platform.platform(terse=True)}"}
    for package in packages:
        found[package] = installed_version(package) or "missing"
    found["velora-sb3"] = __version__  # a checkout may be newer than its metadata
    return found


def device_line() -> str:
    """The devices that torch can use."""
    import torch

    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no CUDA GPU"
    return f"{gpu}; {os.cpu_count()} CPU cores"


def try_kernels() -> Attempt:
    """Compile the kernels of the cells, or find them compiled."""
    from velora_sb3._compiler import find_compiler
    from velora_sb3.cells.kernels.cpu import SWITCH, library

    if library() is not None:
        return Attempt(True, "compiled; sequences of cells run in C")
    reason = f"switched off by {SWITCH}=0"
    if os.environ.get(SWITCH) != "0":
        try:
            reason = "cannot be compiled" if find_compiler() else "no C compiler: install gcc or clang, or set CC"
        except ValueError as error:  # quotes in $CC that do not match
            reason = f"CC: {error}"
    return Attempt(False, f"{reason}; sequences run step by step in PyTorch, which is slower")


def try_training() -> Attempt:
    """Train a tiny liquid policy for a few steps."""
    try:
        from stable_baselines3 import DDPG

        from velora_sb3 import LiquidPolicy

        model = DDPG(LiquidPolicy, "Pendulum-v1", buffer_size=100, learning_starts=10, batch_size=8, device="cpu")
        model.learn(20)
    except Exception as error:  # any error is a result of the check
        return Attempt(False, _line(error))
    return Attempt(True, f"DDPG with LiquidPolicy, Pendulum-v1, {model.num_timesteps} steps")


def try_video(frames: int = 8) -> Attempt:
    """Encode a few frames of Pendulum and read the file back."""
    try:
        import gymnasium as gym
        import numpy as np

        from velora_sb3._headless import prepare_rendering
        from velora_sb3.video.reader import read_video
        from velora_sb3.video.writer import VideoWriter

        prepare_rendering()
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "pendulum.mp4"
            env = gym.make("Pendulum-v1", render_mode="rgb_array")
            env.reset(seed=0)
            pictures = []
            for _ in range(frames):
                env.step(env.action_space.sample())
                pictures.append(np.asarray(env.render()))
            env.close()
            with VideoWriter(path) as writer:
                for picture in pictures:
                    writer.write(picture)
            video = read_video(path)
    except Exception as error:  # as above
        return Attempt(False, _line(error))
    count, height, width = video.shape[:3]
    works = (height, width) == pictures[0].shape[:2] and abs(count - frames) <= 1
    return Attempt(works, f"{count} of {frames} frames of {width} x {height} read back")


def try_mujoco() -> Attempt:
    """Render one MuJoCo frame in a subprocess, which a missing driver may kill."""
    environment = {**os.environ, "MUJOCO_GL": os.environ.get("MUJOCO_GL", "egl")}
    backend = environment["MUJOCO_GL"]
    try:
        result = subprocess.run(
            [sys.executable, "-c", _MUJOCO_SCRIPT],
            env=environment, capture_output=True, text=True, timeout=MUJOCO_TIMEOUT_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Attempt(False, f"MUJOCO_GL={backend}: no frame within {MUJOCO_TIMEOUT_S} s")
    if result.returncode:
        lines = [
            line for line in result.stderr.splitlines() if line and not line.startswith((" ", "Exception ignored"))
        ]
        return Attempt(False, f"MUJOCO_GL={backend}: {lines[-1] if lines else f'exit code {result.returncode}'}")
    return Attempt(True, f"MUJOCO_GL={backend}: a frame of {result.stdout.strip()}")


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
