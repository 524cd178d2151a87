"""The newest, the best, and those that may go."""

import json
import pickle
import subprocess
import sys
import time

import cloudpickle
import pytest
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
from stable_baselines3.common.monitor import Monitor

from tests.callbacks.runs import Steps
from tests.checkpoints.conftest import small_model
from velora_sb3 import load_checkpoint, resume_training, save_checkpoint
from velora_sb3.checkpoints import (
    CheckpointError,
    best_checkpoints,
    keep_best,
    keep_last,
    list_checkpoints,
    newest_checkpoint,
)
from velora_sb3.checkpoints.format.files import MANIFEST, POLICY

REWARDS = [3.0, 9.0, 1.0, 9.0, 5.0]


@pytest.fixture
def run(model, tmp_path):
    """Five checkpoints, as a callback would put them into a run's directory."""
    for number, reward in enumerate(REWARDS):
        save_checkpoint(model, tmp_path / "saves" / f"c{number}", metrics={"eval/mean_reward": reward})
    return tmp_path


def names(paths):
    return [path.name for path in paths]


def there(run):
    return sorted(path.name for path in (run / "saves").iterdir())


def test_the_newest_is_found_from_the_run_its_saves_and_itself(run):
    newest = run / "saves" / "c4"
    assert [newest_checkpoint(place) for place in (run, str(run / "saves"), newest)] == [newest] * 3
    assert names(manifest.path for manifest in list_checkpoints(run)) == ["c4", "c3", "c2", "c1", "c0"]


def test_the_newest_is_found_from_the_directory_of_a_run_of_the_command_line(run, tmp_path_factory):
    directory = tmp_path_factory.mktemp("ppo-CartPole-v1-1")
    (directory / "checkpoints").mkdir()
    (run / "saves").rename(directory / "checkpoints" / "saves")
    assert newest_checkpoint(directory) == directory / "checkpoints" / "saves" / "c4"


def test_a_model_is_loaded_from_the_directory_of_its_run(run):
    model = small_model().learn(60)
    save_checkpoint(model, run / "saves" / "newest")
    assert load_checkpoint(run).num_timesteps == model.num_timesteps


def test_a_damaged_one_is_passed_over_with_a_warning(run):
    content = bytearray((run / "saves" / "c4" / POLICY).read_bytes())
    content[-1] ^= 1
    (run / "saves" / "c4" / POLICY).write_bytes(content)
    (run / "saves" / "c3" / MANIFEST).write_text("{")
    with pytest.warns(UserWarning, match=f"c4/{POLICY} does not match its SHA-256"):
        assert newest_checkpoint(run).name == "c2"


def test_where_there_is_none_that_is_said(tmp_path):
    with pytest.raises(CheckpointError, match=f"there is no checkpoint in {tmp_path}"):
        newest_checkpoint(tmp_path)
    assert keep_last(tmp_path, 1) == []


def test_the_last_are_kept(run):
    assert sorted(names(keep_last(run, 2))) == ["c0", "c1", "c2"]
    assert there(run) == ["c3", "c4"]


def test_the_best_are_kept_and_the_newest_which_a_run_goes_on_from(run):
    keep_best(run, 2, "eval/mean_reward")
    assert there(run) == ["c1", "c3", "c4"]


def test_the_newest_was_written_last_whatever_the_clock_says(tmp_path, monkeypatch):
    model, now = small_model(), time.time_ns()
    for hours, steps in enumerate((100, 200, 300, 300)):
        monkeypatch.setattr(time, "time_ns", lambda hours=hours: now - hours * 3600 * 10**9)
        model.num_timesteps = steps
        save_checkpoint(model, tmp_path / f"c{hours}")
    assert names(manifest.path for manifest in list_checkpoints(tmp_path)) == ["c3", "c2", "c1", "c0"]
    keep_last(tmp_path, 2)
    assert sorted(names(tmp_path.iterdir())) == ["c2", "c3"]


def test_in_another_process_too(run):
    """It goes on from an earlier one, or starts again: what it writes is the newest, and is not removed."""
    program = f"""
import time
time.time_ns = lambda: 0
from velora_sb3 import load_checkpoint, save_checkpoint
from velora_sb3.checkpoints import keep_last
model = load_checkpoint({str(run / "saves" / "c1")!r}, device="cpu")
model.num_timesteps = 10
save_checkpoint(model, {str(run / "saves" / "again")!r})
keep_last({str(run)!r}, 2)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    assert newest_checkpoint(run).name == "again"
    assert there(run) == ["again", "c4"]


def test_those_without_a_number_are_older_and_in_order_of_their_steps(model, run):
    for number in range(5):
        path = run / "saves" / f"c{number}" / MANIFEST
        content = json.loads(path.read_text())
        del content["number"]
        path.write_text(json.dumps({**content, "timesteps": 100 - number}))
    save_checkpoint(model, run / "saves" / "new")
    assert names(manifest.path for manifest in list_checkpoints(run)) == ["new", "c0", "c1", "c2", "c3", "c4"]


def test_what_cannot_be_read_is_left_out_with_a_warning(run):
    (run / "saves" / "c3" / MANIFEST).write_text("{")
    with pytest.warns(UserWarning, match="skipped a checkpoint: .*c3/manifest.json is not valid JSON"):
        assert names(manifest.path for manifest in list_checkpoints(run)) == ["c4", "c2", "c1", "c0"]


def test_less_can_be_better(run):
    keep_best(run, 1, "eval/mean_reward", "min")
    assert there(run) == ["c2", "c4"]


def test_the_last_and_the_best_together(run):
    keep_last(run, 2, spare=best_checkpoints(run, 1, "eval/mean_reward", "min"))
    assert there(run) == ["c2", "c3", "c4"]


def test_of_equals_the_newer_is_better(run):
    assert names(best_checkpoints(run, 3, "eval/mean_reward")) == ["c3", "c1", "c4"]


def test_nothing_goes_unless_the_new_one_stands(run):
    (run / "saves" / "c4" / POLICY).unlink()
    with pytest.warns(UserWarning, match="no checkpoint is removed"):
        assert keep_last(run, 1) == []
    assert len(there(run)) == 5


def test_an_unknown_metric_is_an_error_that_names_those_that_are_there(run):
    with pytest.raises(CheckpointError, match="'eval/reward'; available: .*eval/mean_reward"):
        keep_best(run, 1, "eval/reward")


@pytest.mark.parametrize("n", [0, -1, True, 1.5])
def test_how_many_must_be_a_number(n, run):
    with pytest.raises(ValueError, match="at least 1"):
        keep_last(run, n)


def test_mode_is_checked(run):
    with pytest.raises(ValueError, match="mode must be one of 'max', 'min', got 'best'"):
        keep_best(run, 1, "eval/mean_reward", "best")


def test_what_sb3_measures_is_there_to_choose_by(model, tmp_path):
    save_checkpoint(model, tmp_path / "it")
    metrics = list_checkpoints(tmp_path)[0].metrics
    returns = [info["r"] for info in model.ep_info_buffer]
    assert metrics["rollout/ep_rew_mean"] == pytest.approx(sum(returns) / len(returns))
    assert "train/loss" in metrics


class SaveOften(BaseCallback):
    """Saves every 8 steps, at the start of a rollout."""

    def __init__(self, run, also=None):
        super().__init__()
        self.run, self.also = run, also

    def _on_rollout_start(self):
        if self.num_timesteps % 8 == 0:
            for path in (self.run / f"at_{self.num_timesteps}", self.also):
                if path is not None:
                    save_checkpoint(self.model, path, callbacks=self.locals["callback"])

    def _on_step(self):
        return True


class Stored(Steps):
    """A checkpoint holds its episode."""

    def get_state(self):
        return {"left": self.left}

    def set_state(self, state):
        self.left = state["left"]


def env():
    return Stored(spaces.Discrete(2), reward=1.0, length=20)


def evaluation():
    return EvalCallback(Monitor(env()), eval_freq=20, n_eval_episodes=1, verbose=0)


def score_by_steps(run, name):
    return {one.timesteps: one.metrics[name] for one in list_checkpoints(run) if name in one.metrics}


def test_a_value_counts_for_the_first_checkpoint_after_it_alone(tmp_path):
    model, evaluated = small_model(env()), evaluation()
    model.learn(64, callback=[evaluated, SaveOften(tmp_path / "run", tmp_path / "other" / "one")])
    # Evaluations after 20, 40 and 60 steps, and so do episodes end; with a checkpoint every 8 steps.
    assert set(score_by_steps(tmp_path / "run", "eval/mean_reward")) == {24, 40}
    assert set(score_by_steps(tmp_path / "run", "rollout/ep_rew_mean")) == {24, 40}
    save_checkpoint(model, tmp_path / "run" / "final", callbacks=evaluated)
    save_checkpoint(model, tmp_path / "run" / "the same weights", callbacks=evaluated)
    assert set(score_by_steps(tmp_path / "run", "eval/mean_reward")) == {24, 40, 64}
    assert names(best_checkpoints(tmp_path / "run", 1, "eval/mean_reward")) == ["the same weights"]


@pytest.mark.parametrize("value", [3, 0.5])
def test_a_value_that_is_logged_again_counts_even_if_it_is_the_same(value, tmp_path):
    class Log(BaseCallback):
        def _on_step(self):
            if self.num_timesteps % 20 == 0:
                self.logger.record("eval/wins", value)
            return True

    model, log = small_model(env()), Log()
    model.learn(64, callback=[log, SaveOften(tmp_path)], log_interval=1000)
    assert score_by_steps(tmp_path, "eval/wins") == {24: value, 40: value}


def test_a_saved_model_can_be_copied(model, tmp_path):
    save_checkpoint(model, tmp_path / "one")
    other = pickle.loads(cloudpickle.dumps(model))
    save_checkpoint(other, tmp_path / "two")


def test_a_resumed_run_leaves_earlier_values_to_the_checkpoints_before(tmp_path):
    small_model(env()).learn(34, callback=[evaluation(), SaveOften(tmp_path)])
    for start in (24, 32):
        resume_training(tmp_path / f"at_{start}", env(), [evaluation(), SaveOften(tmp_path)], total_timesteps=48)
        assert set(score_by_steps(tmp_path, "eval/mean_reward")) == {24, 40}
        assert set(score_by_steps(tmp_path, "rollout/ep_rew_mean")) == {24, 40}
