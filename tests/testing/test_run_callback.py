import numpy as np
import pytest
from stable_baselines3 import A2C, DQN
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

from tests.callbacks.runs import Listener, RaiseAt, StopAt
from velora_sb3.testing import run_callback


class Notes(BaseCallback):
    """Notes what it is shown at each step."""

    def __init__(self):
        super().__init__()
        self.shown = []

    def _on_step(self):
        self.shown.append({key: self.locals[key] for key in ("rewards", "dones", "new_obs", "infos")})
        self.logger.record("mine", self.num_timesteps)
        return True


def test_hooks_come_in_sb3s_order():
    run = run_callback(Notes(), [1, 2, 3, 4], rollout_length=2)
    rollout = ["on_rollout_start", "on_step", "on_step", "on_rollout_end"]
    assert run.hooks == ["init_callback", "on_training_start", *rollout, *rollout, "on_training_end"]
    assert (run.num_timesteps, run.stopped, run.answers, run.error) == (4, False, [True] * 4, None)


def test_off_policy_rollouts_are_single_steps():
    run = run_callback(Notes(), [1, 2], off_policy=True)
    rollout = ["on_rollout_start", "on_step", "on_rollout_end"]
    assert run.hooks == ["init_callback", "on_training_start", *rollout, *rollout, "on_training_end"]
    assert isinstance(run.model, DQN)


@pytest.mark.parametrize("off_policy", [False, True])
def test_several_environments(off_policy):
    notes = Notes()
    rewards = np.arange(6.0).reshape(3, 2)
    dones = [[False, False], [True, False], [False, True]]
    observations = np.arange(16.0).reshape(4, 2, 2)
    infos = [{"both": 1}, [{"left": 2}, {"right": 3}], {}]
    run = run_callback(notes, rewards, dones=dones, observations=observations, infos=infos, off_policy=off_policy)
    assert np.array_equal([step["rewards"] for step in notes.shown], rewards)
    assert np.array_equal([step["dones"] for step in notes.shown], dones)
    assert np.array_equal([step["new_obs"] for step in notes.shown], observations[1:])
    assert [step["infos"][0].get("both") for step in notes.shown] == [1, None, None]
    assert (notes.shown[1]["infos"][0]["left"], notes.shown[1]["infos"][1]["right"]) == (2, 3)
    assert run.num_timesteps == 6


def test_model_logger_and_env_are_real():
    listener = Listener()
    run = run_callback(listener, [1, 2, 3, 4, 5], dones=[0, 1, 0, 0, 1])
    assert isinstance(listener.model, A2C) and isinstance(listener.training_env, DummyVecEnv)
    assert listener.model.predict(np.zeros(1))[0] in (0, 1)
    assert [(episode.episode_return, episode.length) for episode in listener.heard] == [(3.0, 2), (12.0, 3)]
    assert run.logged("rollout/ep_rew_mean") == [7.5]
    assert (listener.told[0], listener.told[-1]) == ("start", "end")


def test_without_a_monitor_there_are_no_returns_of_sb3s():
    assert run_callback(Notes(), [1, 2], monitor=False).logged("rollout/ep_rew_mean") == []


def test_time_limits():
    notes = Notes()
    run_callback(notes, [1, 1], truncations=[1, 0])
    assert [bool(step["dones"][0]) for step in notes.shown] == [True, True]
    assert [step["infos"][0]["TimeLimit.truncated"] for step in notes.shown] == [True, False]


def test_logged_numbers_stand_in_sb3s_rows():
    run = run_callback(Notes(), np.ones(6), logged=[{"train/loss": 3.0}, {}, {"train/loss": 1.0}])
    assert run.logged("train/loss") == [3.0, 1.0]
    assert [(row["step"], row["mine"], row["time/total_timesteps"]) for row in run.rows] == [
        (2, 2, 2),
        (4, 4, 4),
        (6, 6, 6),
    ]


def test_one_observation_of_one_number():
    notes = Notes()
    run_callback(notes, [1, 1], observations=[5, 6, 7])
    assert [step["new_obs"].tolist() for step in notes.shown] == [[[6.0]], [[7.0]]]


def test_a_stop():
    run = run_callback(StopAt(2), [1, 2, 3])
    assert (run.answers, run.stopped, run.num_timesteps) == ([True, False], True, 2)


def test_the_scripts_error_ends_the_run_and_not_the_test():
    error = KeyboardInterrupt()
    run = run_callback(Notes(), np.ones(4), raises=(2, error))
    assert run.error is error
    assert (run.hooks[-1], run.num_timesteps) == ("on_step", 2)


def test_an_error_of_the_callback_is_raised():
    with pytest.raises(ZeroDivisionError):
        run_callback(RaiseAt(2, ZeroDivisionError), np.ones(4), raises=(3, KeyboardInterrupt()))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rewards": []}, "at least one step"),
        ({"rewards": [[[1]]]}, r"rewards must have shape \(T,\)"),
        ({"rewards": [1, 2], "dones": [1]}, r"dones must have shape \(2, 1\) for 2 steps, got \(1, 1\)"),
        ({"rewards": [1, 2], "observations": [1, 2]}, r"observations must have shape \(3, 1\)"),
        ({"rewards": [1, 2], "infos": [{}]}, "infos must have an entry for each of the 2 steps, got 1"),
        ({"rewards": [1, 2, 3], "rollout_length": 2}, "rollout_length must divide the 3 steps of the script, got 2"),
    ],
)
def test_lengths_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        run_callback(Notes(), **settings)
