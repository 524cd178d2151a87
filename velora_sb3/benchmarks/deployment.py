"""The benchmark of deployed policies: microseconds a step."""

from __future__ import annotations

import ctypes
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from stable_baselines3 import PPO

from velora_sb3._compiler import find_compiler
from velora_sb3.algorithms import RecurrentSAC
from velora_sb3.benchmarks.timing import time_in_turns
from velora_sb3.export import OnnxPolicy, export_c, export_onnx
from velora_sb3.memory import StatefulPredictor

STEPS = 50  # in one turn
ENV = "PendulumNoVel-v1"
WAYS = ("predict", "StatefulPredictor", "OnnxPolicy", "C")
REPEAT = """\
#include "policy.h"

float repeat(int steps)
{
    static float state[POLICY_STATE_SIZE], action[POLICY_ACTION_SIZE];
    static float observation[POLICY_OBSERVATION_SIZE] = {0.1f};
    float sum = 0.0f;
    for (int i = 0; i < steps; i++) {
        policy_step(state, observation, action);
        observation[0] = 0.5f * action[0]; /* each step waits for the last one */
        sum += action[0];
    }
    return sum;
}
"""


def _recurrent(**policy_kwargs: Any) -> Any:
    return RecurrentSAC("LiquidPolicy", ENV, buffer_size=64, seed=0, device="cpu", policy_kwargs=policy_kwargs)


MODELS: dict[str, Callable[[], Any]] = {
    "MLP, 64 and 64 units": lambda: PPO("MlpPolicy", "Pendulum-v1", n_steps=8, batch_size=8, seed=0, device="cpu"),
    "CfC, mixed memory, 64 units": _recurrent,
    "CfC, 64 units": partial(_recurrent, mixed_memory=False),
    "CfC, NCP of 19 neurons": partial(_recurrent, wiring="ncp", units=19),
    "LTC, NCP of 19 neurons": partial(_recurrent, cell="ltc", wiring="ncp", units=19),
    "LTC, 64 units": partial(_recurrent, cell="ltc"),
}


def latencies(rounds: int) -> dict[str, dict[str, float]]:
    """Microseconds a step of one observation, for every model in every way, in turns.

    Time of this thread on the processor: what else runs on the machine does not count. The model's own ``predict`` is
    given the state by hand. C is compiled with ``-O3``, and left out without a compiler.
    """
    return {name: _latency(make(), rounds) for name, make in MODELS.items()}


def _latency(model: Any, rounds: int) -> dict[str, float]:
    observation = np.array([0.1, 0.2, 0.3], np.float32)[: model.observation_space.shape[0]]
    with TemporaryDirectory() as directory:
        folder = Path(directory)
        policy, predictor = OnnxPolicy(export_onnx(model, folder / "onnx")), StatefulPredictor(model)

        def predict() -> None:
            state, starts = None, np.ones(1, bool)
            for _ in range(STEPS):
                _, state = model.predict(observation, state, starts, deterministic=True)
                starts = np.zeros(1, bool)

        def times(function: Callable[[], object]) -> Callable[[], None]:
            def repeat() -> None:
                for _ in range(STEPS):
                    function()

            return repeat

        turns: dict[str, Callable[[], object]] = {
            "predict": predict,
            "StatefulPredictor": times(partial(predictor.predict, observation, deterministic=True)),
            "OnnxPolicy": times(partial(policy.predict, observation)),
        }
        if (compiler := find_compiler()) is not None:
            export_c(model, folder / "c")
            turns["C"] = partial(_compiled(folder / "c", compiler).repeat, STEPS)
        seconds = time_in_turns(turns, rounds, clock=time.thread_time)
    return {name: 1e6 * value / STEPS for name, value in seconds.items()}


def _compiled(folder: Path, compiler: list[str]) -> ctypes.CDLL:
    (folder / "repeat.c").write_text(REPEAT)
    files = [str(folder / name) for name in ("policy.c", "repeat.c")]
    library = str(folder / "repeat.so")
    subprocess.run([*compiler, "-std=c99", "-O3", "-shared", "-fPIC", *files, "-lm", "-o", library], check=True)
    return ctypes.CDLL(library)


def table(found: dict[str, dict[str, float]]) -> str:
    """A Markdown table: microseconds, and in brackets their share of ``predict``'s."""
    names = [f"`{way}`" if way != "C" else way for way in WAYS]
    lines = [f"| | {' | '.join(names)} |", "|---" * (1 + len(WAYS)) + "|"]
    for name, by_way in found.items():
        cells = [_cell(by_way.get(way), by_way["predict"]) for way in WAYS]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(microseconds: float | None, predict: float) -> str:
    if microseconds is None:
        return ""
    text = f"{microseconds:.0f}" if microseconds >= 10 else f"{microseconds:.1f}"
    return text if microseconds == predict else f"{text} ({_ratio(predict / microseconds)})"


def _ratio(ratio: float) -> str:
    return f"1/{ratio:.0f}" if ratio >= 2 else f"{1 / ratio:.2f}"
