"""Running the command line in this process."""

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from velora_sb3.cli import main


class UnmaskedEnv(gym.Env):
    """Two of four actions count; the return is how often they were taken in ten steps."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(self, render_mode=None):
        self.render_mode = render_mode
        self.observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
        self.action_space = gym.spaces.Discrete(4)
        self.steps = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.steps += 1
        return np.zeros(2, np.float32), float(action % 2 == 0), self.steps == 10, False, {}

    def render(self):
        return np.full((32, 48, 3), 20 * self.steps, np.uint8)


class MaskedEnv(UnmaskedEnv):
    """The same, and only those that count are allowed."""

    def action_masks(self):
        return np.array([True, False, True, False])


class BrokenRenderer(MaskedEnv):
    """Its renderer works once, as it does when asked before training, and fails afterwards."""

    renders = 0

    def render(self):
        BrokenRenderer.renders += 1
        if BrokenRenderer.renders > 1:
            raise OSError("the display is gone\nand more")
        return super().render()


for name, env in {
    "VeloraMasked-v0": MaskedEnv,
    "VeloraUnmasked-v0": UnmaskedEnv,
    "VeloraBrokenRenderer-v0": BrokenRenderer,
}.items():
    if name not in gym.registry:
        gym.register(name, env)


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """``run("train", "--algo", ...)`` in a directory of its own: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*argv):
        code = main([str(word) for word in argv])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The directory of a short run with everything in it."""
    directory = tmp_path_factory.mktemp("trained") / "run"
    code = main(
        [
            *("train", "--algo", "ddpg", "--env", "Pendulum-v1", "--steps", "450", "--eval-freq", "200", "--seed", "7"),
            *("--policy-kwargs", "units: 8", "--hyperparams", '{"batch_size": 16}', "--run-dir", str(directory)),
        ]
    )
    assert code == 0
    return Path(directory)
