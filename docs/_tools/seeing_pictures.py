"""Draws the pictures of docs/seeing.md: ``python docs/_tools/seeing_pictures.py [RUN_DIR]`` (a few minutes).

Uses a run directory, or trains RecurrentPPO with a wired CfC on CartPole without velocities. The screenshot of the
report needs Chromium and is skipped without it.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import gymnasium as gym
from matplotlib.figure import Figure
from PIL import Image

from velora_sb3.cli import main as velora_sb3
from velora_sb3.cli.saved_model import find_model
from velora_sb3.plotting import hidden_state_trace, time_constants, trace_episode, wiring_graph

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
ENV, NAME, SHOWN = "CartPoleNoVel-v1", "recurrent_ppo-CartPoleNoVel-v1-1", 200
ALGORITHM = ("--algo", "recurrent_ppo", "--env", ENV, "--seed", "3", "--steps", "30000", "--eval-freq", "3000")
PPO = '{"n_steps": 256, "batch_size": 256, "learning_rate": 0.003, "gae_lambda": 0.9}'
SETTINGS = ("--policy-kwargs", '{"units": 32, "wiring": "ncp"}', "--hyperparams", PPO, "--n-envs", "4")
INPUTS = ("position", "velocity, hidden", "angle", "angular velocity, hidden")
DPI = 75


def main() -> None:
    """Train unless a run directory is given, draw, take a screenshot of the report."""
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(scratch) / NAME
        if len(sys.argv) > 1:
            shutil.copytree(sys.argv[1], run)
        else:
            velora_sb3(["train", *ALGORITHM, *SETTINGS, "--run-dir", str(run)])
        model = find_model(run).load("recurrent_ppo", "cpu")
        trace = trace_episode(model, gym.make(ENV, render_mode="rgb_array"), seed=0, every_n_frames=SHOWN // 8)
        save(wiring_graph(model, INPUTS), "wiring_graph.png")
        save(hidden_state_trace(trace), "hidden_state_trace.png")
        save(time_constants(trace), "time_constants.png")
        velora_sb3(["report", str(run)])
        screenshot_report(run / "report.html", IMAGES / "report.png", Path(scratch))


def save(figure: Figure, name: str) -> None:
    """Save a figure with a palette of 128 colors, a third of the size."""
    figure.savefig(IMAGES / name, dpi=DPI)
    with Image.open(IMAGES / name) as picture:
        picture.convert("RGB").quantize(128).save(IMAGES / name, optimize=True)


def screenshot_report(page: Path, picture: Path, scratch: Path) -> None:
    """Save a screenshot of the upper part of a page; the browser writes its files to ``scratch``."""
    sys.path.insert(0, str(ROOT))
    from tests.cli.report.browser import browser, find_chromium

    chromium = find_chromium()
    if chromium is None:
        print(f"Chromium not found: {picture.name} is unchanged")
        return
    with browser(chromium, scratch / "profile") as tab:
        tab.resize(1000)
        tab.open(page)
        tab.screenshot(scratch / "page.png")
    with Image.open(scratch / "page.png") as whole:
        upper = whole.crop((0, 0, 1000, 1250)).resize((600, 750), Image.Resampling.LANCZOS)
        upper.quantize(128).save(picture, optimize=True)


if __name__ == "__main__":
    main()
