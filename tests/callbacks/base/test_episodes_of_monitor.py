"""Returns and ends of episodes are those of SB3's log, whatever wrappers outside Monitor do."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import RecordEpisodeStatistics, TimeLimit, TransformReward
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnvWrapper, VecNormalize

from tests.callbacks.runs import Listener, make_env, make_model
from velora_sb3.callbacks import LambdaCallback


class Game(gym.Env):
    """Three lives of five steps, a point for each step."""

    observation_space, action_space = gym.spaces.Box(-1, 1, (1,)), gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        self.turn = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.turn += 1
        return np.full(1, self.turn / 15, np.float32), 1.0, self.turn == 15, False, {}


class Lives(gym.Wrapper):
    """Ends with each life."""

    over = True

    def reset(self, **kwargs):
        return self.env.reset(**kwargs) if self.over else (np.zeros(1, np.float32), {})

    def step(self, action):
        observation, reward, self.over, truncated, info = self.env.step(action)
        return observation, reward, self.over or self.env.unwrapped.turn % 5 == 0, truncated, info


class Rounds(gym.Wrapper):
    """Ends after two games, and resets in between."""

    games = 0

    def step(self, action):
        observation, reward, terminated, truncated, info = self.env.step(action)
        if terminated:
            self.games += 1
            if self.games % 2:
                observation, terminated = self.env.reset()[0], False
        return observation, reward, terminated, truncated, info


class Short(gym.Wrapper):
    """Ends after four steps; its attribute has the name of one of Monitor's."""

    def reset(self, **kwargs):
        self.rewards, self.left = 0.0, 4
        return self.env.reset(**kwargs)

    def step(self, action):
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.rewards, self.left = self.rewards + reward, self.left - 1
        return observation, reward, terminated, truncated or not self.left, info


class Bonus(VecEnvWrapper):
    def reset(self):
        return self.venv.reset()

    def step_wait(self):
        observations, rewards, dones, infos = self.venv.step_wait()
        return observations, rewards + 100, dones, infos


def heard_and_logged(env, algorithm=PPO, steps=96):
    model, listener = make_model(algorithm, env), Listener()
    ends = []
    hook = LambdaCallback(on_episode_end=lambda episode: ends.append((episode.get_return(), len(episode))))
    model.learn(steps, callback=[listener, hook])
    env.close()
    heard = [(episode.episode_return, episode.length) for episode in listener.heard]
    assert ends == heard  # hooks agree
    return heard, [(float(info["r"]), info["l"]) for info in model.ep_info_buffer]


@pytest.mark.parametrize("monitor", [Monitor, RecordEpisodeStatistics])
@pytest.mark.parametrize("vectorize", [DummyVecEnv, lambda makers: SubprocVecEnv(makers, start_method="fork")])
def test_a_lost_life_ends_no_episode(monitor, vectorize):
    heard, logged = heard_and_logged(vectorize([lambda: Lives(monitor(Game()))] * 2))
    assert heard == logged == [(15.0, 15)] * 6


def test_several_episodes_of_monitor_in_one():
    heard, logged = heard_and_logged(DummyVecEnv([lambda: Rounds(Monitor(Game()))]), DQN)
    assert heard == logged == [(15.0, 15)] * 6


@pytest.mark.parametrize("limit", [lambda env: TimeLimit(env, 4), Short])
def test_a_time_limit_outside_monitor_ends_episodes_that_sb3_does_not_log(limit):
    heard, logged = heard_and_logged(DummyVecEnv([lambda: limit(Monitor(Game()))]), steps=32)
    assert (heard, logged) == ([(4.0, 4)] * 8, [])


@pytest.mark.parametrize("reward", [lambda one: np.array([one]), lambda one: np.array(one, dtype=object)])
def test_rewards_of_any_shape_and_type_that_sb3_takes(reward):
    env = SubprocVecEnv([lambda: TransformReward(Game(), reward)], start_method="fork")
    assert heard_and_logged(env, steps=32) == ([(15.0, 15)] * 2, [])


def test_without_monitor_each_life_is_an_episode():
    heard, logged = heard_and_logged(DummyVecEnv([lambda: Lives(Game())]), steps=48)
    assert (heard, logged) == ([(5.0, 5)] * 9, [])


@pytest.mark.parametrize(
    "wrap",
    [
        lambda env: env,
        Bonus,
        lambda env: Bonus(VecNormalize(env)),
        lambda env: VecNormalize(VecNormalize(env, norm_obs=False), norm_reward=False),
    ],
)
def test_rewards_shaped_outside_monitor(wrap):
    env = DummyVecEnv([lambda: TransformReward(Monitor(Game()), lambda reward: 0.01 * reward)])
    heard, logged = heard_and_logged(wrap(env))
    assert heard == logged == [(15.0, 15)] * 6


def test_nested_normalization_without_monitor():
    env = VecNormalize(VecNormalize(DummyVecEnv([Game]), norm_obs=False), norm_reward=False)
    seen = []
    hook = LambdaCallback(on_episode_end=lambda episode: seen.append(episode.get_observations(-1).item()))
    model, listener = make_model(PPO, env), Listener()
    model.learn(32, callback=[listener, hook])
    assert [episode.episode_return for episode in listener.heard] == [15.0, 15.0]
    assert seen == pytest.approx([1.0, 1.0])


@pytest.mark.parametrize("settings", [{}, {"optimize_memory_usage": True, "replay_buffer_kwargs": {
    "handle_timeout_termination": False}}])  # fmt: skip
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("algorithm", [SAC, DQN])
def test_a_loaded_replay_buffer_loses_no_episode(algorithm, normalize, settings, tmp_path):
    model = make_model(algorithm, make_env(tmp_path, algorithm, 2, length=10, normalize=normalize), **settings)
    model.learn(26)
    model.save(tmp_path / "model")
    model.save_replay_buffer(tmp_path / "buffer")
    env, listener = make_env(tmp_path, algorithm, 2, length=10, normalize=normalize), Listener()
    loaded = algorithm.load(tmp_path / "model", env=env)
    loaded.load_replay_buffer(tmp_path / "buffer")
    start = loaded.num_timesteps
    loaded.learn(30, callback=listener, reset_num_timesteps=False)
    assert [(episode.timestep - start, episode.length) for episode in listener.heard] == [(20, 10), (20, 10)]
    unbroken = Listener()
    model.learn(60, callback=unbroken, reset_num_timesteps=False)  # this one is in mid-episode
    assert [(episode.timestep, episode.length) for episode in unbroken.heard][:2] == [(60, 10), (60, 10)]
