import json

import pytest
from stable_baselines3.common.logger import Logger

from velora_sb3.callbacks.checkpointing.run_record import RunRecord


def test_the_latest_losses_stay_known_when_training_has_ended():
    logger, record = Logger(None, []), RunRecord()
    record.start(logger)
    logger.record("train/critic_loss", 2.0)
    logger.record("train/n_updates", 3)
    logger.dump(1)
    logger.record("train/actor_loss", 1.0)
    record.stop()
    logger.record("train/actor_loss", 9.0)
    assert record.losses() == {"critic_loss": 2.0, "actor_loss": 1.0}
    assert logger.output_formats == []


def test_a_state_goes_on():
    record = RunRecord()
    record.start(Logger(None, []))
    record.returns.add(3.0)
    record.logged.values["train/loss"] = 0.5
    record.stop()
    other = RunRecord()
    other.load_state_dict(json.loads(json.dumps(record.state_dict())))
    assert other.seconds() == record.seconds()
    assert other.losses() == {"loss": 0.5}
    assert other.summary()["average_return"] == 3.0 == pytest.approx(other.returns.recent_average)
