import numpy as np
import pytest
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.logger import Logger

from tests.callbacks.runs import make_env, make_model
from tests.callbacks.tensors.test_log_gradients import Rows
from velora_sb3.callbacks import LogMetrics
from velora_sb3.testing import run_callback


@pytest.mark.parametrize("off_policy", [False, True])
def test_every_so_many_timesteps(off_policy):
    rewards = np.ones((10, 2))  # the timesteps are 2, 4, 6 ...
    run = run_callback(LogMetrics(every_n_timesteps=5), rewards, off_policy=off_policy, dones=np.zeros((10, 2)))
    own = [] if off_policy else [20]  # SB3's own, at the end of the rollout
    assert [row["step"] for row in run.rows] == [6, 10, 16, 20, *own]
    assert all(row["time/total_timesteps"] == row["step"] for row in run.rows)


def test_every_so_many_episodes():
    run = run_callback(LogMetrics(every_n_episodes=2), np.ones(8), dones=[1, 0, 1, 1, 1, 1, 0, 0])
    assert [row["step"] for row in run.rows] == [3, 5, 8]


@pytest.mark.parametrize("algorithm", [PPO, SAC])
def test_it_can_be_the_only_one_that_decides(tmp_path, algorithm):
    model, rows = make_model(algorithm, make_env(tmp_path, algorithm, monitor=True)), Rows()
    model.set_logger(Logger(None, [rows]))
    model.learn(48, callback=LogMetrics(20), log_interval=None)
    assert rows.of("time/total_timesteps") == [20, 40]
    assert len(rows.of("rollout/ep_rew_mean")) == 2


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="pass every_n_timesteps, every_n_episodes or both"):
        LogMetrics()
    with pytest.raises(ValueError, match="every_n_episodes must be an integer"):
        LogMetrics(every_n_episodes=0.5)
