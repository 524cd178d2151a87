import pytest

from tests.checkpoints.conftest import small_model
from velora_sb3.checkpoints import newest_checkpoint
from velora_sb3.cli.experiment.interrupt import StopOnInterrupt
from velora_sb3.cli.experiment.save_progress import SaveProgress


def names(directory):
    return sorted(path.name for path in directory.iterdir())


class Watch(StopOnInterrupt):
    """Notes which checkpoints stand at each rollout, and may want to stop."""

    def __init__(self, directory, at=None):
        super().__init__(at_rollout=True)
        self.directory, self.at, self.seen = directory, at, []

    def _on_step(self):
        self.wanted = self.num_timesteps == self.at or self.wanted
        return True

    def _on_rollout_start(self):
        there = names(self.directory) if self.directory.exists() else []
        self.seen += [name for name in there if name not in self.seen]
        super()._on_rollout_start()


def test_it_saves_when_a_period_is_passed_and_at_the_end_and_two_stay(tmp_path):
    watch = Watch(tmp_path / "progress")
    model = small_model(train_freq=3)  # rollouts start at 0, 3, 6, ...
    model.learn(36, callback=[SaveProgress(watch.directory, 10, watch), watch])
    assert watch.seen == ["step_12", "step_21", "step_30"]
    assert names(watch.directory) == ["step_30", "step_36"]
    assert newest_checkpoint(watch.directory).name == "step_36"


def test_on_ctrl_c_it_saves_at_the_next_rollout(tmp_path):
    watch = Watch(tmp_path / "progress", at=16)
    with pytest.raises(KeyboardInterrupt), SaveProgress(watch.directory, 100, watch) as save:
        small_model(train_freq=3).learn(36, callback=[save, watch])
    assert names(watch.directory) == ["step_18"]


def test_what_cannot_be_saved_is_told_once_and_training_goes_on(tmp_path):
    (tmp_path / "progress").write_text("in the way")
    model = small_model()
    with pytest.warns(RuntimeWarning, match="step_12 could not be saved .*training goes on") as told:
        model.learn(40, callback=[SaveProgress(tmp_path / "progress", 10, StopOnInterrupt())])
    assert model.num_timesteps == 40 and len(told) == 1
