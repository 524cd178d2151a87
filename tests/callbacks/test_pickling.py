"""Callbacks travel to other processes: a list of them can be pickled and copied, before training and after."""

import copy
import multiprocessing
import pickle

import cloudpickle
import gymnasium as gym
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback, CallbackList

from velora_sb3 import callbacks

COPIES = {
    "pickle": lambda given: pickle.loads(pickle.dumps(given)),
    "cloudpickle": lambda given: cloudpickle.loads(cloudpickle.dumps(given)),
    "deepcopy": copy.deepcopy,
}


class Counts(callbacks.EpisodeCallback):
    """Sees every episode."""

    def on_episode_end(self, *, episode, **kwargs):
        self.seen = getattr(self, "seen", 0) + 1


def on_episode_end(episode):
    """A hook that takes one of the arguments only."""


def progress(remaining):
    return 1e-3 * remaining


CALLBACKS = {
    "ActionAnalysis": {},
    "CallbackCollection": {"callbacks": [callbacks.EarlyStopping(1e9), callbacks.ProgressBar()]},
    "CometAnalytics": {"project_name": "project", "online": False},
    "EarlyStopping": {"target": 1e9},
    "EvalCallback": {"eval_env": gym.make("CartPole-v1"), "eval_freq": 32, "verbose": 0, "warn": False},
    "LambdaCallback": {"on_episode_end": on_episode_end},
    "LearningRateMonitor": {},
    "LearningRateScheduler": {"schedule": progress},
    "LiveMonitor": {},
    "LogGradients": {},
    "LogMetrics": {"every_n_episodes": 1},
    "LogParameters": {},
    "MaskableEvalCallback": {"eval_env": gym.make("CartPole-v1"), "eval_freq": 32, "verbose": 0, "warn": False},
    "PerformancePlots": {"directory": "plots"},
    "ProgressBar": {},
    "RecordMetrics": {"path": "metrics.db"},
    "RecordVideos": {"dirname": "run", "frequency": 2},
    "ResourceMonitor": {},
    "SaveCheckpoints": {"dirname": "run"},
    "StopOnPlateau": {"monitor": "rollout/ep_rew_mean"},
    "WandbAnalytics": {"project": "project", "mode": "offline"},
}
OTHERS = {"EpisodeCallback", "VeloraCallback", "MetricsLogger"}  # bases, and a logger


def make(name):
    return getattr(callbacks, name)(**CALLBACKS[name])


def model(verbose=0):
    settings = {"n_steps": 32, "batch_size": 32, "n_epochs": 1, "seed": 0, "device": "cpu", "verbose": verbose}
    return PPO("MlpPolicy", "CartPole-v1", **settings)


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_every_callback_is_tried():
    assert {*CALLBACKS, *OTHERS} == set(callbacks.__all__)


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("name", CALLBACKS)
def test_before_training(name, how):
    given = [make(name), Counts()]
    for one in (given[0], given, CallbackList(given)):
        copied = COPIES[how](one)
        assert type(copied) is type(one)
    if isinstance(given[0], callbacks.VeloraCallback):
        assert COPIES[how](given[0]).config() == given[0].config()


def without_clock(state):
    shared = {key: value for key, value in state.get("shared", {}).items() if key != "seconds"}
    return {**state, "shared": shared}


# SB3's own EvalCallback keeps its model and the locals of learn(), which hold modules; so do these two.
@pytest.mark.parametrize("name", sorted(CALLBACKS.keys() - {"EvalCallback", "MaskableEvalCallback"}))
@pytest.mark.filterwarnings("ignore:LiveMonitor")
def test_after_training(name):
    given = make(name)
    model().learn(64, callback=[given, Counts()])
    for how in COPIES.values():
        copied = how(given)
        assert not hasattr(copied, "model")
        if isinstance(given, callbacks.VeloraCallback):
            assert without_clock(copied.state_dict()) == without_clock(given.state_dict())


class CopyAtStep40(BaseCallback):
    """Copies another callback in mid-run."""

    def __init__(self, given):
        super().__init__()
        self.given, self.copied = given, []

    def _on_step(self):
        if self.num_timesteps == 40:
            self.copied = [how(self.given) for how in COPIES.values()]
        return True


@pytest.mark.parametrize("name", sorted(CALLBACKS.keys() - {"EvalCallback", "MaskableEvalCallback"}))
@pytest.mark.filterwarnings("ignore:LiveMonitor")
def test_during_training(name):
    """SB3's logger is open, and so are videos and their environments."""
    given = make(name)
    copy_it = CopyAtStep40(given)
    model(verbose=1).learn(64, callback=[given, copy_it])
    assert [type(copied) for copied in copy_it.copied] == [type(given)] * len(COPIES)


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_trains_another_model(how):
    given = [callbacks.SaveCheckpoints("run", force=True), Counts(), callbacks.EarlyStopping(1e9)]
    model().learn(64, callback=given)
    copied = COPIES[how](given)
    seen = copied[1].seen
    assert seen == given[1].seen > 0
    model().learn(64, callback=copied)
    assert copied[1].seen > seen == given[1].seen


def train(callback, answers):
    model().learn(32, callback=callback)
    answers.put(callback.config())


def test_a_tracker_records_in_a_spawned_process():
    context = multiprocessing.get_context("spawn")
    tracker, answers = make("WandbAnalytics"), context.Queue()
    process = context.Process(target=train, args=(tracker, answers))
    process.start()
    assert answers.get(timeout=120) == tracker.config()
    process.join()
    assert process.exitcode == 0
