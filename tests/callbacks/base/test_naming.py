import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.classic_control import CartPoleEnv
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecMonitor, VecNormalize

from tests.callbacks.runs import make_env
from velora_sb3.callbacks import LambdaCallback, RecordMetrics, SaveCheckpoints
from velora_sb3.callbacks.base.naming import env_id, env_name, env_text, short_number


def registered(identifier, **kwargs):
    gym.register(identifier, entry_point="gymnasium.envs.classic_control:CartPoleEnv", kwargs=kwargs)
    return gym.make(identifier)


@pytest.fixture(autouse=True)
def registry():
    before = dict(gym.registry)
    yield
    gym.registry.clear()
    gym.registry.update(before)


@pytest.mark.parametrize("vectorized", [DummyVecEnv, SubprocVecEnv])
def test_a_registered_environment(vectorized):
    env = VecNormalize(make_vec_env("Pendulum-v1", 1, vec_env_cls=vectorized))
    assert (env_name(env), env_id(env)) == ("Pendulum", "Pendulum-v1")
    assert env_text(env).startswith("<Monitor<TimeLimit<")
    env.close()


@pytest.mark.parametrize(
    ("identifier", "name"),
    [
        ("space/Ship-v2", "Ship"),
        ("NoVersion", "NoVersion"),
        ("Odd-vx-v1", "Odd-vx"),
        ("Long" * 60 + "-v1", "Long" * 25),  # names of files have at most 255 characters
    ],
)
@pytest.mark.parametrize("subproc", [False, True])
def test_namespace_and_version_are_left_out(identifier, name, subproc):
    make = [lambda: registered(identifier)]
    env = SubprocVecEnv(make, start_method="fork") if subproc else DummyVecEnv(make)
    assert (env_name(env), env_id(env)) == (name, identifier)
    env.close()


@pytest.mark.parametrize("subproc", [False, True])
@pytest.mark.parametrize("monitor", [False, True])
def test_an_environment_without_a_spec_is_called_by_its_class(tmp_path, subproc, monitor):
    env = make_env(tmp_path, subproc=subproc, monitor=monitor)
    assert (env_name(env), env_id(env)) == ("Steps", None)
    env.close()


def test_a_spec_that_cannot_be_sent_does_no_harm_to_its_process():
    class Registered(gym.Wrapper):  # any argument that pickle cannot hold
        pass

    def make():
        env = gym.make("CartPole-v1")
        env.unwrapped.spec.kwargs["reward"] = lambda state: 1.0
        return Registered(env)

    env = SubprocVecEnv([make], start_method="fork")
    assert env_name(env) == "CartPole"
    env.reset()  # the process is alive
    env.close()


class Board(gym.Wrapper):
    """Prints its board, which is None before render()."""

    board = None

    def __str__(self):
        return "\n".join(self.board)


class BareBoard(CartPoleEnv):
    def __str__(self):
        return "\n".join(None)


@pytest.mark.parametrize("monitor", [True, False])
@pytest.mark.parametrize("subproc", [True, False])
def test_an_environment_that_cannot_print_itself(subproc, monitor):
    def make():
        env = Board(gym.make("CartPole-v1"))
        return Monitor(env) if monitor else env

    env = SubprocVecEnv([make], start_method="fork") if subproc else DummyVecEnv([make])
    assert (env_name(env), env_id(env), env_text(env)) == ("CartPole", "CartPole-v1", "<CartPoleEnv<CartPole-v1>>")
    env.reset()  # the process is alive
    env.close()


@pytest.mark.parametrize("subproc", [True, False])
def test_an_environment_without_wrappers_that_cannot_print_itself(subproc):
    env = SubprocVecEnv([BareBoard], start_method="fork") if subproc else DummyVecEnv([BareBoard])
    assert (env_name(env), env_id(env), env_text(env)) == ("BareBoard", None, "<BareBoard instance>")
    env.reset()
    env.close()


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (100, "100"),
        (999, "999"),
        (1000, "1K"),
        (1500, "1.5K"),
        (2048, "2048"),
        (12_340, "12.34K"),
        (12_345, "12345"),
        (1_000_000, "1M"),
        (1_000_100, "1000.1K"),
        (1_230_000, "1.23M"),
        (2_500_000_000, "2.5B"),
        (2.048e3, "2048"),  # as in learn(2.048e3)
        (1e6, "1M"),
        (np.float64(1.5e3), "1.5K"),
        (1e6 / 3, "333333"),
    ],
)
def test_short_numbers(number, text):
    assert short_number(number) == text


def test_no_two_numbers_have_one_name():
    numbers = [*range(20_000), *range(1_000_000, 1_020_000), *range(10**9, 10**9 + 2000)]
    assert len({short_number(number) for number in numbers}) == len(numbers)


class Duck:
    """As SuperSuit's: what SB3 calls, and no more; it is no VecEnv."""

    render_mode = None

    def __init__(self):
        self.inner = DummyVecEnv([lambda: gym.make("CartPole-v1")] * 2)
        for name in ("num_envs", "observation_space", "action_space", "reset", "step_async", "step_wait", "close"):
            setattr(self, name, getattr(self.inner, name))
        for name in ("env_is_wrapped", "env_method", "get_attr", "seed"):
            setattr(self, name, getattr(self.inner, name))


def test_what_only_resembles_sb3_s_vectorized_environments(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    env, infos = VecMonitor(Duck()), []
    assert (env_name(env), env_id(env)) == ("CartPole", "CartPole-v1")
    callbacks = [
        SaveCheckpoints("run"),
        RecordMetrics("metrics.db"),
        LambdaCallback(on_episode_start=lambda episode: infos.append(episode.get_infos())),
    ]
    PPO("MlpPolicy", env, n_steps=32, batch_size=64, n_epochs=1, device="cpu").learn(64, callback=callbacks)
    assert infos[:2] == [[{}], [{}]]
    assert (tmp_path / "checkpoints" / "run" / "saves" / "CartPole_final" / "manifest.json").exists()
    assert callbacks[1].run_name == "PPO_CartPole_1"
