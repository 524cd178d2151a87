import numpy as np
import torch
from stable_baselines3.common.logger import Logger

from velora_sb3.metrics.latest_losses import LatestLosses


def test_the_latest_number_under_each_name_outlives_the_dump():
    latest = LatestLosses()
    logger = Logger(folder=None, output_formats=[latest])
    logger.record("train/loss", 1.5)
    logger.record("train/n_updates", 10, exclude="tensorboard")
    logger.record("rollout/ep_rew_mean", 7.0)
    logger.dump(1)
    logger.record("train/loss", np.float32(0.25))
    logger.record_mean("train/mean", 1.0)
    logger.record_mean("train/mean", 2.0)
    logger.dump(2)
    logger.dump(3)
    assert latest.values == {"train/loss": 0.25, "train/n_updates": 10.0, "train/mean": 1.5}
    assert all(type(value) is float for value in latest.values.values())


def test_what_is_no_number_is_left_out():
    latest = LatestLosses()
    latest.update({"train/text": "high", "train/none": None, "train/weights": torch.zeros(2), "train/int": np.int64(3)})
    assert latest.values == {"train/int": 3.0}
