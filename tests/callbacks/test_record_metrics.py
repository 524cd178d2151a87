import json
from copy import deepcopy

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
from sb3_contrib import ARS, RecurrentPPO
from stable_baselines3 import DDPG, DQN, PPO
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback, EveryNTimesteps
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecNormalize

from tests.metrics.short_episodes import ShortEpisodes, ppo, recorded
from velora_sb3.callbacks import EarlyStopping, RecordMetrics
from velora_sb3.metrics import load_metrics, load_runs, run_writer

ALGORITHMS = {
    "DDPG": lambda env: DDPG(
        "MlpPolicy", env, learning_starts=20, batch_size=4, seed=1, policy_kwargs={"net_arch": [4]}
    ),
    "DQN": lambda env: DQN("MlpPolicy", env, learning_starts=20, batch_size=4, seed=1),
    "PPO": lambda env: PPO("MlpPolicy", env, n_steps=32, n_epochs=1, batch_size=32, seed=1),
    "RecurrentPPO": lambda env: RecurrentPPO("MlpLstmPolicy", env, n_steps=32, n_epochs=1, batch_size=32, seed=1),
}
ENVS = {
    "1": lambda make: make(1),
    "3": lambda make: make(3),
    "3, Subproc": lambda make: make(3, vec_env_cls=SubprocVecEnv),
    "2, VecNormalize": lambda make: VecNormalize(make(2)),
}


class Monitored(BaseCallback):
    """The episodes as SB3's Monitor counts them, in each environment by itself."""

    def __init__(self):
        super().__init__()
        self.episodes = []

    def _on_step(self):
        for index, info in enumerate(self.locals["infos"]):
            if "episode" in info:
                self.episodes.append((info["episode"]["r"], info["episode"]["l"], self.num_timesteps, index))
        return True


# Every process of the Subproc environments has to import torch: two algorithms in every run of the tests are enough.
QUICK = [(a, e) for e in ENVS for a in ALGORITHMS if e != "3, Subproc" or a in ("DDPG", "PPO")]
SLOW = [pytest.param(a, "3, Subproc", marks=pytest.mark.slow) for a in ("DQN", "RecurrentPPO")]


@pytest.mark.parametrize(("algorithm", "envs"), [*QUICK, *SLOW])
def test_rows_are_the_episodes(algorithm, envs, tmp_path):
    def make(n_envs, **settings):
        env_id = "Pendulum-v1" if algorithm == "DDPG" else "CartPole-v1"
        return make_vec_env(env_id, n_envs, env_kwargs={"max_episode_steps": 23}, **settings)

    env = ENVS[envs](make)
    monitored = Monitored()
    recorded(200, tmp_path / "m.db", monitored, model=ALGORITHMS[algorithm](env))
    env.close()
    rows = load_metrics(tmp_path / "m.db")
    expected = np.array(monitored.episodes)
    assert len(rows) == len(expected) >= 6
    np.testing.assert_allclose(rows["return"], expected[:, 0], rtol=1e-5)
    assert rows[["length", "timesteps", "env_index"]].to_numpy().tolist() == expected[:, 1:].tolist()
    assert rows["episode"].tolist() == list(range(1, len(rows) + 1))
    assert rows["seconds"].is_monotonic_increasing
    assert rows["seconds"].iloc[0] > 0
    assert set(rows["algorithm"]) == {algorithm}
    assert set(rows["status"]) == {"finished"}


def test_without_monitor_or_spec(tmp_path):
    own = []
    env = DummyVecEnv([lambda: ShortEpisodes(lambda *episode: own.append(episode))])
    _, callback = recorded(256, tmp_path / "m.db", model=ppo(env))
    rows = load_metrics(tmp_path / "m.db")
    assert list(zip(rows["return"], rows["length"], strict=True)) == own
    assert callback.run_name == "PPO_ShortEpisodes_1"
    assert set(rows["env"]) == {"ShortEpisodes"}


def test_ars_shows_its_episodes_late_but_whole(tmp_path):
    model = ARS("LinearPolicy", make_vec_env("CartPole-v1", 1), n_delta=2, seed=0)
    recorded(300, tmp_path / "m.db", model=model)
    rows = load_metrics(tmp_path / "m.db")
    assert rows["length"].sum() == rows["timesteps"].iloc[-1] == model.num_timesteps


def test_the_run(tmp_path):
    model, callback = recorded(100, tmp_path / "m.db", EarlyStopping(1e6), Monitored(), model=ppo(n_envs=2, gamma=0.9))
    run = load_runs(tmp_path / "m.db").iloc[0]
    assert (run["run"], run["run_id"]) == (callback.run_name, callback.run_id) == ("PPO_ShortEpisodes_1", 1)
    assert (run["algorithm"], run["seed"], run["total_timesteps"], run["status"]) == ("PPO", 0, 100, "finished")
    assert run["episodes"] == len(load_metrics(tmp_path / "m.db"))
    assert pd.Timedelta(0) < run["ended"] - run["started"] < pd.Timedelta(minutes=5)
    assert abs(pd.Timestamp.now("UTC") - run["ended"]) < pd.Timedelta(minutes=5)
    config = run["config"]
    assert (config["hyperparameters"]["gamma"], config["env"]["n_envs"]) == (0.9, 2)
    assert config["policy"]["class"].endswith("ActorCriticPolicy")
    assert [told["name"] for told in config["callbacks"]] == ["RecordMetrics", "EarlyStopping", "Monitored"]
    assert config["callbacks"][0]["settings"] == callback.config()[1]
    assert config["callbacks"][1]["settings"] == {"target": 1e6, "patience": 3, "window": 1}
    assert {"python", "torch", "stable-baselines3"} <= set(run["versions"])
    assert model.logger.output_formats == []  # as it was


def test_moving_average_and_deviation(tmp_path):
    recorded(200, tmp_path / "m.db", window=7)
    rows = load_metrics(tmp_path / "m.db")
    rolling = rows["return"].rolling(7, min_periods=1)
    np.testing.assert_allclose(rows["moving_average"], rolling.mean(), atol=1e-9)
    np.testing.assert_allclose(rows["moving_deviation"], rolling.std(ddof=0), atol=1e-6)


class Trained:
    """Keeps what the logger was told at each update."""

    def train(self, *args, **kwargs):
        super().train(*args, **kwargs)
        told = {name: value for name, value in self.logger.name_to_value.items() if name.startswith("train/")}
        self.told = [*getattr(self, "told", []), (self.num_timesteps, told)]


class TrainedPPO(Trained, PPO):
    pass


class TrainedDQN(Trained, DQN):
    pass


@pytest.mark.parametrize("log_interval", [1, 3, None])
@pytest.mark.parametrize("algorithm", [TrainedPPO, TrainedDQN])
def test_losses_are_the_latest_at_the_time(algorithm, log_interval, tmp_path):
    settings = {"n_steps": 16, "n_epochs": 1, "batch_size": 16}
    if algorithm is TrainedDQN:
        settings = {"learning_starts": 20, "train_freq": 4, "batch_size": 4}
    env = DummyVecEnv([ShortEpisodes])
    model = algorithm("MlpPolicy", env, seed=0, **settings)
    evaluation = EvalCallback(DummyVecEnv([ShortEpisodes]), eval_freq=30, verbose=0, warn=False)  # it dumps, too
    model.learn(150, callback=[evaluation, RecordMetrics(tmp_path / "m.db")], log_interval=log_interval)
    rows = load_metrics(tmp_path / "m.db")
    names = [name for name in rows if name.startswith("train/")]
    assert "train/loss" in names
    expected = []
    for timestep in rows["timesteps"]:
        known = {}
        for at, told in model.told:
            known |= told if at < timestep else {}
        expected.append([known.get(name, np.nan) for name in names])
    np.testing.assert_allclose(rows[names].to_numpy(), np.array(expected, dtype=float))
    assert rows["train/loss"].isna().iloc[0]
    assert rows["train/loss"].nunique() > 3


def test_training_is_not_changed(tmp_path):
    model, _ = recorded(300, tmp_path / "m.db")
    bare = ppo().learn(300)
    for ours, theirs in zip(model.policy.parameters(), bare.policy.parameters(), strict=True):
        assert ours.equal(theirs)


@pytest.mark.parametrize("reward", [float("nan"), float("inf")])
def test_returns_that_are_no_numbers(reward, tmp_path):
    class Blind(DQN):  # no learning from such rewards
        def train(self, *args, **kwargs):
            pass

    env = DummyVecEnv([lambda: ShortEpisodes(reward=reward)])
    recorded(50, tmp_path / "m.db", model=Blind("MlpPolicy", env))
    rows = load_metrics(tmp_path / "m.db")
    assert len(rows) > 10
    np.testing.assert_array_equal(rows["return"], np.full(len(rows), reward))


def test_episodes_are_written_in_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(run_writer, "BATCH_S", 1e9)
    monkeypatch.setattr(run_writer, "BATCH_EPISODES", 50)
    sizes = []
    monkeypatch.setattr(run_writer.RunWriter, "write", lambda self, write=run_writer.RunWriter.write: (
        sizes.append(len(self._pending)), write(self)
    ))  # fmt: skip
    recorded(600, tmp_path / "m.db")
    total = len(load_metrics(tmp_path / "m.db"))
    assert sizes == [50] * (total // 50)
    assert total > 100


def test_a_row_is_written_when_its_time_has_come(tmp_path, monkeypatch):
    monkeypatch.setattr(run_writer, "BATCH_S", 0.0)
    seen = []

    class Reader(BaseCallback):
        def _on_step(self):
            seen.append(len(load_metrics(tmp_path / "m.db")))
            return True

    recorded(20, tmp_path / "m.db", Reader(), model=ppo(n_steps=32))
    assert seen == sorted(seen)
    assert seen[-1] == len(load_metrics(tmp_path / "m.db")) > 3


def test_what_it_says(tmp_path, capsys):
    recorded(64, tmp_path / "m.db", verbose=1)
    path = tmp_path / "m.db"
    said = (
        f"RecordMetrics: writes every episode to {path}\nRecordMetrics: run PPO_ShortEpisodes_1, number 1 in {path}\n"
    )
    assert capsys.readouterr().out == said


def test_the_folder_is_made_and_the_file_found_from_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    model, callback = ppo(), RecordMetrics("new folder #1/50%.db")

    class Leave(BaseCallback):
        def _on_step(self):
            monkeypatch.chdir(tmp_path / "elsewhere")
            return True

    model.learn(64, callback=[callback, Leave()])
    assert len(load_metrics(tmp_path / "new folder #1" / "50%.db")) > 10


@pytest.mark.parametrize("event", [EveryNTimesteps, None])
def test_not_within_an_event(event, tmp_path):
    callback = RecordMetrics(tmp_path / "m.db")
    env = DummyVecEnv([ShortEpisodes])
    outer = event(10, callback) if event else EvalCallback(env, callback_on_new_best=callback, eval_freq=10)
    with pytest.raises(ValueError, match=f"pass it to learn.., alone or in a list, not to {type(outer).__name__}"):
        ppo().learn(64, callback=outer)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"run": ""}, "run must be a non-empty string"),
        ({"run": 3}, "run must be a non-empty string"),
        ({"window": 0}, "window must be an integer"),
        ({"window": 2.5}, "window must be an integer"),
    ],
)
def test_wrong_arguments(settings, said):
    with pytest.raises(ValueError, match=said):
        RecordMetrics(**settings)


def test_config_is_json():
    name, settings = RecordMetrics("a/b.db", run="r", window=5).config()
    assert (name, json.loads(json.dumps(settings))) == ("RecordMetrics", {"path": "a/b.db", "run": "r", "window": 5})


def test_an_env_with_an_id(tmp_path):
    env = DummyVecEnv([lambda: gym.make("CartPole-v1")])
    _, callback = recorded(64, tmp_path / "m.db", model=ppo(env))
    assert callback.run_name == "PPO_CartPole_1"
    assert load_runs(tmp_path / "m.db")["env"].tolist() == ["CartPole-v1"]


def test_nan_does_not_spoil_the_moving_average(tmp_path):
    rewards = iter([np.nan, *[2.0] * 1000])

    class Once(ShortEpisodes):
        def step(self, action):
            self.reward = next(rewards)
            self.length = 1
            return super().step(action)

    recorded(64, tmp_path / "m.db", model=ppo(DummyVecEnv([Once])))
    table = load_metrics(tmp_path / "m.db")
    assert table["return"].isna().tolist() == [True] + [False] * 63 == table["moving_average"].isna().tolist()
    assert set(table["moving_average"][1:]) == {2.0} and set(table["moving_deviation"][1:]) == {0.0}


def test_the_file_stays_where_the_program_started(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    model, callback = ppo(), RecordMetrics("m.db")
    model.learn(64, callback=callback)
    monkeypatch.chdir("elsewhere")
    model.learn(64, callback=callback, reset_num_timesteps=False)
    assert load_metrics(tmp_path / "m.db")["timesteps"].max() > 64
    assert not (tmp_path / "elsewhere" / "m.db").exists()


def test_models_that_take_turns_have_a_run_each(tmp_path):
    callback, models = RecordMetrics(tmp_path / "m.db"), [ppo(), ppo()]
    for turn in range(3):
        for model in models:
            model.learn(64, callback=callback, reset_num_timesteps=turn == 0)
    found = load_metrics(tmp_path / "m.db").groupby("run_id")
    assert found["timesteps"].max().between(170, 192).all() and len(found) == 2
    assert found["length"].sum().between(170, 192).all()
    deepcopy(callback)
