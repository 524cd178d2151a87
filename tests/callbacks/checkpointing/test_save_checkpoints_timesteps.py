"""Checkpoints every so many timesteps, and those that are requested."""

import pytest
from stable_baselines3.common.callbacks import BaseCallback

from tests.callbacks.runs import DDPG, PPO, make_env, make_model, names, read, saver
from velora_sb3.checkpoints import newest_checkpoint
from velora_sb3.checkpoints.format.files import BUFFER


class StopAtRollout(BaseCallback):
    """Requests a checkpoint at a timestep, and interrupts training when the next rollout has started."""

    def __init__(self, save, timestep):
        super().__init__()
        self.save, self.timestep = save, timestep

    def _on_step(self):
        if self.num_timesteps == self.timestep:
            self.save.save_at_next_rollout()
        return True

    def _on_rollout_start(self):
        if self.num_timesteps >= self.timestep:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("algorithm", "n_envs", "expected"),
    [(DDPG, 1, [12, 21, 30]), (DDPG, 2, [12, 24, 30]), (PPO, 2, [32])],  # rollouts of 3, 6 and 32 timesteps
)
def test_one_is_due_when_a_multiple_is_crossed_and_written_when_the_next_rollout_starts(
    algorithm, n_envs, expected, tmp_path
):
    settings = {"train_freq": 3} if algorithm is DDPG else {}
    model = make_model(algorithm, make_env(tmp_path, algorithm, n_envs), **settings)
    save = saver(tmp_path, frequency=1, every_n_timesteps=10)
    model.learn(36, callback=save)
    assert names(save) == sorted([f"Steps_{steps}_steps" for steps in expected] + ["Steps_final"])
    for steps in expected:
        assert read(save.saves / f"Steps_{steps}_steps" / "metadata.json")["timesteps"] == steps
    assert newest_checkpoint(save.saves).name == "Steps_final"
    assert "every 10 timesteps and at the end" in save.info()
    assert save.config()[1]["every_n_timesteps"] == 10


def test_the_newest_two_are_kept(tmp_path):
    save = saver(tmp_path, every_n_timesteps=10, keep_last=2)
    make_model(DDPG, make_env(tmp_path, DDPG), train_freq=3).learn(36, callback=save)
    assert names(save) == ["Steps_30_steps", "Steps_final"]


def test_a_requested_one_is_written_at_the_next_rollout_and_not_twice_if_training_is_interrupted_there(tmp_path):
    save = saver(tmp_path)
    model = make_model(DDPG, make_env(tmp_path, DDPG), train_freq=3)
    with pytest.raises(KeyboardInterrupt), save:
        model.learn(36, callback=[save, StopAtRollout(save, 16)])
    assert names(save) == ["Steps_18_steps"]
    assert read(save.directory / "completed.json")["interrupted"]


def test_a_buffer_for_resuming_alone(tmp_path):
    for algorithm in (DDPG, PPO):  # PPO has none, and needs none
        save = saver(tmp_path, algorithm.__name__, buffer="resume")
        make_model(algorithm, make_env(tmp_path, algorithm)).learn(32, callback=save)
        files = {path.name for path in (save.saves / "Steps_final").iterdir()}
        assert (BUFFER in files) == (algorithm is DDPG)
        assert "replay_buffer.pkl" not in files


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"every_n_timesteps": 0}, "every_n_timesteps must be an integer of at least 1, got 0"),
        ({"buffer": "sb3"}, "buffer must be one of False, True, 'resume', got 'sb3'"),
    ],
)
def test_arguments_out_of_range(settings, told, tmp_path):
    with pytest.raises(ValueError, match=told):
        saver(tmp_path, **settings)
