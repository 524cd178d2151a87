"""All callbacks at once, on every kind of algorithm, Dummy and Subproc."""

import json
import warnings
from copy import deepcopy

import pytest
from sb3_contrib import RecurrentPPO
from stable_baselines3 import DDPG, DQN, PPO, SAC
from stable_baselines3.common.callbacks import CallbackList, EvalCallback, StopTrainingOnMaxEpisodes
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

from velora_sb3.callbacks import (
    CometAnalytics,
    EarlyStopping,
    RecordMetrics,
    RecordVideos,
    SaveCheckpoints,
    WandbAnalytics,
)
from velora_sb3.metrics import load_metrics, load_runs
from velora_sb3.video.reader import read_video

SMALL = {"net_arch": [8]}
ALGORITHMS = {
    "DDPG": (DDPG, "MlpPolicy", "Pendulum-v1", {"learning_starts": 50, "policy_kwargs": SMALL}),
    "SAC": (SAC, "MlpPolicy", "Pendulum-v1", {"learning_starts": 50, "policy_kwargs": SMALL}),
    "PPO": (PPO, "MlpPolicy", "CartPole-v1", {"n_steps": 32, "batch_size": 32, "policy_kwargs": SMALL}),
    "DQN": (DQN, "MlpPolicy", "CartPole-v1", {"learning_starts": 50, "policy_kwargs": SMALL}),
    "RecurrentPPO": (
        RecurrentPPO,
        "MlpLstmPolicy",
        "CartPole-v1",
        {"n_steps": 32, "batch_size": 32, "policy_kwargs": {"lstm_hidden_size": 8, **SMALL}},
    ),
}


@pytest.mark.parametrize(("n_envs", "kind"), [(1, DummyVecEnv), (3, SubprocVecEnv)])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_all_together(name, n_envs, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    algorithm, policy, env_id, settings = ALGORITHMS[name]
    length = 200 if env_id == "Pendulum-v1" else 9
    env = make_vec_env(env_id, n_envs, seed=0, vec_env_cls=kind)
    frequency = 2 if length == 200 else 10
    save, record = SaveCheckpoints("run", frequency=frequency), RecordVideos("run", frequency=frequency)
    metrics, stopping = RecordMetrics("metrics.db"), EarlyStopping(1e9)
    trackers = [WandbAnalytics("together", mode="offline"), CometAnalytics("together", online=False)]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Training and eval env are not of the same type")
        evaluation = EvalCallback(
            make_vec_env(env_id), callback_after_eval=EarlyStopping(1e9), eval_freq=100, verbose=0
        )
        others = [evaluation, StopTrainingOnMaxEpisodes(10**6)]
        model = algorithm(policy, env, seed=0, device="cpu", **deepcopy(settings))  # SAC writes into its policy_kwargs
        model.learn(700, callback=CallbackList([save, record, *others, metrics, stopping, *trackers]))
    env.close()

    rows = load_metrics("metrics.db")
    completed = json.loads((tmp_path / "checkpoints" / "run" / "completed.json").read_text())
    assert len(rows) == completed["episodes"] == save.episodes.finished > 2
    assert load_runs("metrics.db")["status"].tolist() == ["finished"]
    assert rows["length"].min() >= (length if length == 200 else 1)
    assert save.saved[-1].name.endswith("_final")
    assert len(save.saved) > 1
    algorithm.load(save.saved[-1] / "model.zip", device="cpu")
    assert record.videos[-1].name.endswith("_final-episode-0.mp4")
    assert len(record.videos) > 1
    frames = read_video(record.videos[-1])
    assert (frames != frames[0]).any()
    assert all(tracker.location is not None for tracker in trackers)
    assert stopping.reward == pytest.approx(rows["return"].iloc[-1])
    assert not stopping.stopped_early
