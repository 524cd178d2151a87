"""A call reaches the environment in whichever process it is, and never ends that process."""

import os
from operator import attrgetter

import gymnasium as gym
import pytest
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnvWrapper, VecNormalize

from velora_sb3._call_env import EnvCallError, EnvOutOfReachError, call_env


def make():
    return Monitor(gym.make("CartPole-v1"))


def in_processes(make, n=1):
    return SubprocVecEnv([make] * n, start_method="fork")


def process_of(env):
    return os.getpid()


def fails(env):
    raise ValueError("no board")


def fails_without_a_word(env):
    raise KeyError


def cannot_be_sent(env):
    return lambda: env


@pytest.fixture(params=[DummyVecEnv, in_processes])
def env(request):
    env = request.param([make, make]) if request.param is DummyVecEnv else in_processes(make, 2)
    yield env
    env.close()


def test_the_result_comes_back(env):
    assert call_env(VecNormalize(env), attrgetter("spec")).id == "CartPole-v1"
    remote = isinstance(env, SubprocVecEnv)
    assert [call_env(env, process_of, index) != os.getpid() for index in range(2)] == [remote, remote]


def test_errors_come_back_and_leave_the_environment_alive(env):
    with pytest.raises(EnvCallError, match="^no board$"):
        call_env(env, fails)
    with pytest.raises(EnvCallError, match="^KeyError$"):
        call_env(env, fails_without_a_word)
    assert env.reset().shape == (2, 4)


def test_a_result_that_cannot_be_sent():
    env = in_processes(make)
    with pytest.raises(EnvCallError, match="pickle"):
        call_env(env, cannot_be_sent)
    assert env.reset().shape == (1, 4)
    env.close()


def test_it_leaves_no_trace(env):
    before = call_env(env, dir)
    call_env(env, process_of)
    assert call_env(env, dir) == before
    assert not env.has_attr("_velora_call")


def test_an_environment_without_any_wrapper_is_out_of_reach_in_another_process():
    env = in_processes(lambda: gym.make("CartPole-v1").unwrapped)
    with pytest.raises(EnvOutOfReachError, match="SubprocVecEnv gives no access"):
        call_env(env, process_of)
    assert env.reset().shape == (1, 4)
    env.close()


def test_a_process_that_has_ended_does_not_block():
    env = in_processes(make, 2)
    env.processes[0].kill()
    env.processes[0].join()
    with pytest.raises(EnvCallError, match="the worker process of environment 0 has ended"):
        call_env(env, process_of)
    assert call_env(env, process_of, 1) != os.getpid()
    env.processes[1].kill()
    for process in env.processes:
        process.join()


def test_closed_environments():
    env = in_processes(make)
    env.close()
    with pytest.raises(EnvCallError, match="the environments are closed"):
        call_env(env, process_of)


def test_what_only_resembles_a_vectorized_environment_is_out_of_reach():
    class Duck:
        """Whether it has ``unwrapped`` or not."""

    class Wrapped(VecEnvWrapper):
        def __init__(self):
            self.venv = Duck()

        reset = step_wait = None

    with pytest.raises(EnvOutOfReachError, match="Duck gives no access"):
        call_env(Wrapped(), process_of)
