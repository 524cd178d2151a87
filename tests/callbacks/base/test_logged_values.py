import copy
import math
import pickle

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.logger import Image, Logger

from tests.callbacks.runs import make_env, make_model
from velora_sb3.callbacks import VeloraCallback
from velora_sb3.callbacks.base.logged_values import LoggedValues


class Follow(VeloraCallback):
    """Notes what is known whenever a rollout starts."""

    def __init__(self):
        super().__init__()
        self.logged, self.known = LoggedValues(), []

    def _on_start(self):
        self.logged.follow(self.logger)

    def _on_rollout_start(self):
        self.known.append(dict(self.logged.latest()))

    def _on_end(self):
        self.logged.leave()


@pytest.fixture
def logged():
    logged = LoggedValues()
    logged.follow(Logger(None, []))
    return logged


def test_it_remembers_what_the_logger_forgets(logged):
    logger = logged._logger
    logger.record("a", 1)
    logger.dump(10)
    logger.record("b", 2.5, exclude="tensorboard")
    logger.dump(20)
    assert not logger.name_to_value
    assert logged.values == {"a": 1.0, "b": 2.5}
    assert logged.timesteps == {"a": 10, "b": 20}


def test_what_waits_for_the_next_dump_is_the_latest(logged):
    logged._logger.record("a", 1)
    logged._logger.dump(10)
    logged._logger.record("a", 2)
    assert (logged.get("a"), logged.values["a"]) == (2.0, 1.0)
    assert logged.get("b") is None
    assert "b" not in logged._logger.name_to_value  # SB3's is a defaultdict: looking must not record a zero


def test_only_numbers_are_kept(logged):
    image = Image(np.zeros((2, 2, 3)), "HWC")
    row = {"text": "x", "none": None, "array": np.zeros(3), "image": image, "nan": math.nan, "inf": math.inf}
    row |= {"float32": np.float32(2.0), "tensor": torch.tensor([3.0], requires_grad=True), "flag": True}
    for key, value in row.items():
        logged._logger.record(key, value)
    logged._logger.dump()
    assert math.isnan(logged.values.pop("nan"))
    assert logged.values == {"inf": math.inf, "float32": 2.0, "tensor": 3.0, "flag": 1.0}


def test_an_unknown_key_is_told_with_those_there_are(logged):
    assert logged.unknown("a") == "SB3's logger has no number 'a'. Available: nothing yet"
    for key in ("eval/mean_reward", "time/fps"):
        logged._logger.record(key, 1)
    assert logged.unknown("eval/mean_rewards") == (
        "SB3's logger has no number 'eval/mean_rewards'; did you mean 'eval/mean_reward'? "
        "Available: eval/mean_reward, time/fps"
    )


def test_it_leaves_the_logger_as_it_was(logged):
    logger = logged._logger
    logged.follow(logger)
    assert logger.output_formats == [logged]
    logged.leave()
    logged.leave()
    assert logger.output_formats == []


@pytest.mark.parametrize("algorithm", [PPO, SAC])
def test_in_training(tmp_path, algorithm):
    follow = Follow()
    (tmp_path / "evaluation").mkdir()
    evaluation = EvalCallback(make_env(tmp_path / "evaluation", algorithm), eval_freq=16, verbose=0, warn=False)
    model = make_model(algorithm, make_env(tmp_path, algorithm, monitor=True))
    model.learn(48, callback=[follow, evaluation], log_interval=1)
    assert {"rollout/ep_rew_mean", "eval/mean_reward", "train/learning_rate", "time/fps"} <= follow.known[-1].keys()
    assert follow.logged.values["eval/mean_reward"] == evaluation.last_mean_reward
    assert follow.logged not in model.logger.output_formats
    if algorithm is PPO:  # recorded by the update that has just been, before any dump
        assert "train/loss" in follow.known[1]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda values: pickle.loads(pickle.dumps(values))])
def test_the_values_of_a_followed_logger_can_be_copied(logged, copied):
    logged._logger.record("a", 7)
    assert logged.count("a") == 1
    values = copied(logged._logger.name_to_value)
    values["b"] += 1.0
    assert values == {"a": 7, "b": 1.0}
    logged._logger.name_to_value = values
    assert [logged.count("a"), logged.count("b")] == [2, 1]


def test_values_that_are_not_recorded_one_by_one_count(logged):
    logged._logger.record("a", 7)
    assert logged.count("a") == 1
    logged._logger.name_to_value.update({"a": 8, "b": 9})
    assert [logged.count("a"), logged.count("b")] == [2, 1]


def test_each_value_counts_once(logged):
    logger, value = logged._logger, 5.0
    assert logged.count("a") == 0
    for number in (1, 2):
        logger.record("a", value)
        logger.dump(number)
        assert logged.count("a") == number  # equal values are two
    logger.record("a", float("6"))
    assert [logged.count("a"), logged.count("a")] == [3, 3]
    logger.dump(3)
    assert logged.count("a") == 3  # it was counted before the dump
    logger.record("a", "text")
    assert logged.count("a") == 3
    for number in (4, 5):
        logger.record("a", 7)  # Python has one object for it
        assert logged.count("a") == number
