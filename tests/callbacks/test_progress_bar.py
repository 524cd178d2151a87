import io
import re
from collections import deque

import gymnasium as gym
import numpy as np
import pytest
from rich.console import Console
from sb3_contrib import ARS
from stable_baselines3 import A2C, DDPG, DQN, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from velora_sb3.callbacks import EarlyStopping, ProgressBar
from velora_sb3.callbacks.progress_displays import PlainLines, TerminalBar, remaining_time


def bare_env(n=1, length=10, env_id="CartPole-v1"):
    """No Monitor: FinRL's envs have none either."""
    return DummyVecEnv([lambda: gym.make(env_id, max_episode_steps=length) for _ in range(n)])


def ppo(env):
    return PPO("MlpPolicy", env, n_steps=20, batch_size=20, n_epochs=1, seed=0, device="cpu")


class Raises(BaseCallback):
    def _on_step(self):
        if self.n_calls == 5:
            raise RuntimeError("a bug")
        return True


@pytest.fixture
def terminal(monkeypatch):
    """A terminal of 80 columns, read as text."""
    written = io.StringIO()

    def console(*args, **kwargs):
        return Console(file=written, force_terminal=True, width=80, color_system=None, legacy_windows=False)

    monkeypatch.setattr("rich.console.Console", console)
    monkeypatch.setattr("rich.progress.get_console", console)
    return written


def test_plain_lines_where_there_is_no_terminal(capsys):
    model = ppo(bare_env(2))
    model.learn(200, callback=ProgressBar(refresh_rate=1e9))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == [f"{steps}/200 steps" for steps in range(20, 201, 20)]
    assert all(re.search(r"\d steps/s  return 1?\d\.\d  ETA 0:\d\d:\d\d$", line) for line in lines[1:])
    assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize(
    ("algorithm", "settings", "n_envs", "expected"),
    [
        (PPO, {"n_steps": 64, "batch_size": 64}, 2, 256),
        (A2C, {"n_steps": 5}, 3, 210),
        (DQN, {"train_freq": 16}, 1, 208),
        (DQN, {"train_freq": 4}, 3, 204),
    ],
)
def test_the_total_includes_the_rollout_that_reaches_it(algorithm, settings, n_envs, expected, capsys):
    env = bare_env(n_envs)
    model = algorithm("MlpPolicy", env, seed=0, device="cpu", **settings)
    model.learn(200, callback=ProgressBar(refresh_rate=1e9))
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith(f"{model.num_timesteps:,}/{expected:,} steps")
    assert model.num_timesteps == expected
    assert lines[-1].endswith("ETA 0:00:00")
    assert lines[0].split("  ")[0].endswith(f"/{expected:,} steps")


def test_metrics_can_be_left_out(capsys):
    ppo(bare_env()).learn(20, callback=ProgressBar(show_metrics=False))
    out = capsys.readouterr().out
    assert "20/20 steps" in out
    assert "return" not in out
    assert "steps/s" not in out


def test_returns_are_the_envs_own_under_normalization():
    bar = ProgressBar()
    ppo(VecNormalize(bare_env(length=5))).learn(40, callback=bar)
    assert list(bar._returns) == [5.0] * 8


@pytest.mark.parametrize("n_envs", [1, 3])
def test_returns_are_counted_without_a_monitor(n_envs):
    bar = ProgressBar()
    ppo(bare_env(n_envs, length=5)).learn(20 * n_envs, callback=bar)
    assert list(bar._returns)[-4:] == [5.0] * 4


def test_infinite_returns_are_no_warning():
    bar = ProgressBar()
    model = ppo(bare_env(length=5))
    bar.init_callback(model)
    bar._returns.extend([np.inf, -np.inf])
    bar._total, bar._marks = 10, deque([(0.0, 0)])
    bar._display = PlainLines(True)
    bar._draw()


def test_ars_has_returns_too(capsys):
    ARS("LinearPolicy", "CartPole-v1", n_delta=1, seed=0).learn(400, callback=ProgressBar(refresh_rate=1e9))
    assert "return" in capsys.readouterr().out


def test_a_bar_on_a_terminal(terminal):
    ppo(bare_env()).learn(20, callback=ProgressBar(refresh_rate=1e9))
    frames = re.split(r"\x1b\[\d*[A-Za-z]|\x1b\[\?25[hl]|[\r\n]", terminal.getvalue())
    drawn = [frame for frame in frames if "steps/s" in frame]
    assert "20/20" in drawn[-1]
    assert "return 10.0" in drawn[-1]
    assert "ETA 0:00:00" in drawn[-1]
    assert "━" in drawn[-1]
    assert max(map(len, drawn)) <= 80
    assert terminal.getvalue().rstrip().endswith("\x1b[?25h")  # the cursor is back


def test_it_closes_when_training_raises_inside_a_with_block(terminal):
    with pytest.raises(RuntimeError), ProgressBar() as bar:
        ppo(bare_env()).learn(20, callback=[bar, Raises()])
    assert terminal.getvalue().rstrip().endswith("\x1b[?25h")
    bar.close()


def test_it_closes_when_the_model_trains_again(terminal):
    model = ppo(bare_env())
    with pytest.raises(RuntimeError):
        model.learn(20, callback=[ProgressBar(), Raises()])
    assert not terminal.getvalue().rstrip().endswith("\x1b[?25h")
    model.learn(20, callback=EarlyStopping(1e9))
    assert terminal.getvalue().rstrip().endswith("\x1b[?25h")


def test_it_serves_a_second_training(capsys):
    bar, model = ProgressBar(), ppo(bare_env())
    model.learn(20, callback=bar)
    capsys.readouterr()
    model.learn(20, callback=bar, reset_num_timesteps=False)
    assert "40/40 steps" in capsys.readouterr().out


def test_off_policy(capsys):
    model = DDPG("MlpPolicy", bare_env(env_id="Pendulum-v1"), learning_starts=5, batch_size=4, seed=0, device="cpu")
    model.learn(20, callback=ProgressBar(refresh_rate=1e9))
    last = capsys.readouterr().out.splitlines()[-1]
    assert re.match(r"20/20 steps  [\d,]+ steps/s  return -\d", last)


@pytest.mark.parametrize("rate", [0, -1, float("nan")])
def test_the_refresh_rate_is_checked(rate):
    with pytest.raises(ValueError, match="refresh_rate must be a finite number above 0"):
        ProgressBar(refresh_rate=rate)


def test_time_left():
    assert remaining_time(0, 7322, 1.0) == "2:02:02"
    assert remaining_time(0, 10, 0.0) == "-:--:--"
    assert remaining_time(20, 10, 1.0) == "0:00:00"


def test_displays_close_twice(terminal):
    for display in (TerminalBar(True), PlainLines(True)):
        display.show(1, 2, 1.0, None)
        display.close()
        display.close()


def test_it_can_be_saved_with_a_model(tmp_path):
    model = ppo(bare_env())
    model.learn(20, callback=ProgressBar())
    model.save(tmp_path / "model")
    assert np.isfinite(model.num_timesteps)
