import gymnasium as gym
import pandas as pd
import pytest
from sb3_contrib import ARS
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv

from velora_sb3.cli.experiment.episode_log import COLUMNS, EpisodeLog


def test_every_episode_of_every_env_has_a_row(tmp_path):
    env = make_vec_env(lambda: gym.make("CartPole-v1"), n_envs=3, seed=0)
    model = PPO("MlpPolicy", env, n_steps=64, batch_size=64, seed=0, device="cpu")
    model.learn(192, callback=EpisodeLog(tmp_path / "episodes.csv"))
    rows = pd.read_csv(tmp_path / "episodes.csv")
    assert tuple(rows) == COLUMNS
    assert len(rows) == len(model.ep_info_buffer) > 3
    assert rows["return"].tolist() == rows["length"].tolist()  # as it is in CartPole
    assert rows["timesteps"].is_monotonic_increasing
    assert set(rows["env"]) == {0, 1, 2}
    last = rows.groupby("env").last()
    assert (rows.groupby("env")["length"].sum() * 3 == last["timesteps"]).all()


def test_it_needs_no_monitor(tmp_path):
    env = DummyVecEnv([lambda: gym.make("CartPole-v1")])
    callback = EpisodeLog(tmp_path / "episodes.csv")
    PPO("MlpPolicy", env, n_steps=64, batch_size=64, seed=0, device="cpu").learn(128, callback=callback)
    rows = pd.read_csv(tmp_path / "episodes.csv")
    assert len(rows) == callback.episodes.finished > 1
    assert rows["seconds"].is_monotonic_increasing


@pytest.mark.parametrize(("last", "least"), [("5,0,5.0,5,1000.5", 1000.5), ("5,0,5.0,5,", 0.0)])
def test_the_seconds_of_a_resumed_run_go_on(last, least, tmp_path):
    path, model = tmp_path / "episodes.csv", PPO("MlpPolicy", "CartPole-v1", n_steps=64, n_epochs=1, device="cpu")
    path.write_text(f"{','.join(COLUMNS)}\n{last}\n9,0,4.0,4,2000.0\n")
    model.num_timesteps = 8
    model.learn(64, callback=EpisodeLog(path), reset_num_timesteps=False)
    new = pd.read_csv(path)["seconds"].iloc[1:]
    assert new.between(least, least + 60).all() and len(new)


def test_ars_tells_its_episodes_at_the_end_of_a_rollout(tmp_path):
    model = ARS("LinearPolicy", make_vec_env(lambda: gym.make("CartPole-v1")), n_delta=2, seed=0)
    model.learn(20, callback=EpisodeLog(tmp_path / "episodes.csv"))
    rows = pd.read_csv(tmp_path / "episodes.csv")
    assert len(rows) % 4 == 0
    assert rows["length"].sum() == model.num_timesteps


def test_no_episode_leaves_a_header(tmp_path):
    env = make_vec_env(lambda: gym.make("Pendulum-v1"))
    PPO("MlpPolicy", env, n_steps=8, batch_size=8, device="cpu").learn(8, callback=EpisodeLog(tmp_path / "e.csv"))
    assert pd.read_csv(tmp_path / "e.csv").empty
    with pytest.raises(StopIteration):
        next(pd.read_csv(tmp_path / "e.csv").iterrows())
