"""Episodes are counted once, right, and without a Monitor."""

import gymnasium as gym
import numpy as np
import pytest
from sb3_contrib import ARS
from stable_baselines3 import DDPG, PPO
from stable_baselines3.common.callbacks import EvalCallback, EveryNTimesteps
from stable_baselines3.common.vec_env import VecMonitor

from tests.callbacks.runs import ALGORITHMS, Listener, StopAt, make_env, make_model, recorded
from velora_sb3 import RecurrentDDPG
from velora_sb3.callbacks.base.episodes import EpisodeCounter


def check(listener, tmp_path, n_envs):
    """What the callback heard is what the environments wrote down."""
    for index in range(n_envs):
        heard = [(e.episode_return, e.length) for e in listener.heard if e.env_index == index]
        written = recorded(tmp_path, index)
        assert len(heard) == len(written) > 0
        assert [length for _, length in heard] == [length for _, length in written]
        assert np.allclose([total for total, _ in heard], [total for total, _ in written], atol=1e-5)  # float32
    assert [episode.number for episode in listener.heard] == list(range(1, len(listener.heard) + 1))
    timesteps = [episode.timestep for episode in listener.heard]
    assert timesteps == sorted(timesteps)


@pytest.mark.parametrize("n_envs", [1, 3])
@pytest.mark.parametrize("monitor", [True, False])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_episodes_are_those_of_the_environment(algorithm, n_envs, monitor, tmp_path):
    model = make_model(algorithm, make_env(tmp_path, algorithm, n_envs, monitor=monitor))
    listener = Listener()
    model.learn(96, callback=listener)
    check(listener, tmp_path, n_envs)


@pytest.mark.parametrize("algorithm", [DDPG, PPO])
def test_environments_in_other_processes(algorithm, tmp_path):
    env = make_env(tmp_path, algorithm, 3, subproc=True)
    listener = Listener()
    make_model(algorithm, env).learn(96, callback=listener)
    env.close()
    check(listener, tmp_path, 3)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_rewards_are_the_environments_own_under_normalization(algorithm, tmp_path):
    model = make_model(algorithm, VecMonitor(make_env(tmp_path, algorithm, 2, normalize=True)))
    listener = Listener()
    model.learn(96, callback=listener)
    check(listener, tmp_path, 2)


def test_truncated_episodes_are_not_bootstrapped(tmp_path):
    # PPO adds the value of the last observation to the reward, in place, after the callbacks were called.
    env = make_env(tmp_path, PPO, reward=1.0, length=1000)
    env.envs[0] = gym.wrappers.TimeLimit(env.envs[0], 5)
    listener = Listener()
    make_model(PPO, env).learn(32, callback=listener)
    assert [episode.episode_return for episode in listener.heard] == [5.0] * 6


@pytest.mark.parametrize("algorithm", [DDPG, PPO])
def test_several_callbacks_hear_the_same(algorithm, tmp_path):
    model = make_model(algorithm, make_env(tmp_path, algorithm, 2))
    (tmp_path / "eval").mkdir()
    evaluation = EvalCallback(
        make_env(tmp_path / "eval", algorithm),
        callback_after_eval=(evaluated := Listener()),
        eval_freq=7,
        verbose=0,
        warn=False,
    )
    every = EveryNTimesteps(10, timed := Listener())
    first, last = Listener(), Listener()
    model.learn(96, callback=[first, evaluation, every, last])
    check(first, tmp_path, 2)
    assert last.heard == first.heard
    for child in (evaluated, timed):  # they hear of the episodes when they are called, and of none twice
        assert child.heard == first.heard[: len(child.heard)]
        assert child.told.count("step") < first.told.count("step")
    assert len(timed.heard) >= len(first.heard) - 2 * 10
    assert first.episodes is EpisodeCounter.of(model)
    assert first.episodes.finished == len(first.heard)


def test_the_only_callback_is_a_child(tmp_path):
    listener = Listener()
    model = make_model(PPO, make_env(tmp_path, PPO, 2))
    model.learn(96, callback=EveryNTimesteps(20, listener))
    written = [recorded(tmp_path, index) for index in (0, 1)]
    assert 0 < len(listener.heard) <= len(written[0]) + len(written[1])
    for index in (0, 1):
        heard = [episode.episode_return for episode in listener.heard if episode.env_index == index]
        assert np.allclose(heard, [total for total, _ in written[index]][: len(heard)], atol=1e-5)


def test_callback_on_new_best_hears_of_no_episodes(tmp_path):
    (tmp_path / "eval").mkdir()
    listener = Listener()
    evaluation = EvalCallback(
        make_env(tmp_path / "eval"), callback_on_new_best=listener, eval_freq=8, verbose=0, warn=False
    )
    model = make_model(PPO, make_env(tmp_path))
    model.learn(64, callback=evaluation)
    assert listener.told[:2] == ["start", "step"]
    assert listener.heard == []
    assert not listener.episodes.is_up_to_date(model.num_timesteps)


@pytest.mark.parametrize("stop", [True, False])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_going_on_keeps_what_is_in_flight(algorithm, stop, tmp_path):
    listener = Listener()
    model = make_model(algorithm, make_env(tmp_path, algorithm, 2))
    for _ in range(3):
        callbacks = [listener, StopAt(13)] if stop else [listener]
        model.learn(32, callback=callbacks, reset_num_timesteps=model.num_timesteps == 0)
    check(listener, tmp_path, 2)


def test_going_on_where_the_algorithm_resets(tmp_path):
    # After a stop RecurrentDDPG resets its environments, since the step under way is lost.
    listener, model = Listener(), RecurrentDDPG("LiquidPolicy", make_env(tmp_path, DDPG, 2), learning_starts=1000)
    for _ in range(3):
        model.learn(32, callback=[listener, StopAt(13)], reset_num_timesteps=model.num_timesteps == 0)
    assert sum(episode.length for episode in listener.heard) < model.num_timesteps
    check(listener, tmp_path, 2)


def test_a_second_run_counts_anew(tmp_path):
    first, second = Listener(), Listener()
    model = make_model(PPO, make_env(tmp_path))
    model.learn(40, callback=first)
    before = len(recorded(tmp_path, 0))
    model.learn(40, callback=second)
    assert second.heard[0].number == 1
    assert np.allclose([e.episode_return for e in second.heard], [r for r, _ in recorded(tmp_path, 0)][before:])


def test_set_env_with_the_same_environment_resets_it_too(tmp_path):
    listener, model = Listener(), make_model(PPO, make_env(tmp_path))
    model.learn(16, callback=listener)
    model.set_env(model.get_env())
    model.learn(32, callback=listener, reset_num_timesteps=False)
    check(listener, tmp_path, 1)


@pytest.mark.parametrize("algorithm", [DDPG, PPO])
def test_an_episode_whose_start_nobody_saw_is_left_out(algorithm, tmp_path):
    model = make_model(algorithm, make_env(tmp_path, algorithm))
    model.learn(48, callback=None)
    before = recorded(tmp_path, 0)
    in_flight = sum(length for _, length in before) < model.num_timesteps
    assert in_flight  # else this test shows nothing
    listener = Listener()
    model.learn(48, callback=listener, reset_num_timesteps=False)
    written = recorded(tmp_path, 0)[len(before) + 1 :]
    assert np.allclose([e.episode_return for e in listener.heard], [total for total, _ in written])


def test_a_loaded_model_starts_with_whole_episodes(tmp_path):
    model = make_model(PPO, make_env(tmp_path))
    model.learn(48)
    model.save(tmp_path / "model")
    (tmp_path / "new").mkdir()
    listener = Listener()
    loaded = PPO.load(tmp_path / "model", env=make_env(tmp_path / "new"))
    loaded.learn(48, callback=listener, reset_num_timesteps=False)
    check(listener, tmp_path / "new", 1)


def test_set_env_forgets_what_was_in_flight(tmp_path):
    listener, model = Listener(), make_model(PPO, make_env(tmp_path))
    model.learn(16, callback=listener)
    (tmp_path / "new").mkdir()
    model.set_env(make_env(tmp_path / "new"))
    listener.heard.clear()
    model.learn(32, callback=listener, reset_num_timesteps=False)
    assert np.allclose([e.episode_return for e in listener.heard], [r for r, _ in recorded(tmp_path / "new", 0)])


@pytest.mark.parametrize("n_envs", [1, 2])
def test_ars_shows_its_episodes_at_the_end_of_a_rollout(n_envs, tmp_path):
    model = ARS("LinearPolicy", make_env(tmp_path, n_envs=n_envs), n_delta=2, n_eval_episodes=2, seed=0)
    first, second = Listener(), Listener()
    model.learn(100, callback=[first, second])
    assert first.heard == second.heard
    heard = sorted(round(episode.episode_return, 4) for episode in first.heard)
    written = sorted(round(total, 4) for index in range(n_envs) for total, _ in recorded(tmp_path, index))
    assert len(heard) % 8 == 0  # four candidates, two episodes each
    assert heard == written if n_envs == 1 else set(heard) <= set(written)


def test_state_round_trip(tmp_path):
    model = make_model(PPO, make_env(tmp_path, PPO, 3))
    listener = Listener()
    model.learn(48, callback=listener)
    state = listener.episodes.state_dict()
    assert state["finished"] == len(listener.heard)
    assert sum(state["lengths"]) == 48 - sum(episode.length for episode in listener.heard)
    other = EpisodeCounter(3)
    other.start(model)
    other.load_state_dict(state)
    assert other.state_dict() == state


def test_a_state_that_does_not_fit_gives_the_number_only(tmp_path):
    model = make_model(PPO, make_env(tmp_path, PPO, 2))
    state = {"finished": 7, "returns": [1.0], "lengths": [3], "whole": [True], "timestep": 0}
    counter = EpisodeCounter.of(model)
    counter.load_state_dict(state)
    assert counter.finished == 7
    assert counter.state_dict()["returns"] == [0.0, 0.0]
    counter.load_state_dict({"finished": 8, "timestep": 0})  # the environments were reset
    assert counter.finished == 8
