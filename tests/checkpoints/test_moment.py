"""A checkpoint is taken where every step is stored and trained on; one that is not says so."""

import json

import pytest
from sb3_contrib import ARS
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

from tests.checkpoints.conftest import small_model
from tests.checkpoints.runs import BATCHED, CARTPOLE, Cut, SaveAt
from velora_sb3 import load_checkpoint, save_checkpoint
from velora_sb3.checkpoints import write_checkpoint
from velora_sb3.checkpoints.format.files import STATE


class SaveIn(BaseCallback):
    """Saves once, from one of SB3's hooks."""

    def __init__(self, hook, path, at=25):
        super().__init__()
        self.hook, self.path, self.at = hook, path, at

    def save(self, hook):
        if hook == self.hook and self.num_timesteps >= self.at and not self.path.exists():
            save_checkpoint(self.model, self.path)

    def _on_rollout_start(self):
        self.save("on_rollout_start")

    def _on_step(self):
        self.save("on_step")
        return True

    def _on_rollout_end(self):
        self.save("on_rollout_end")

    def _on_training_end(self):
        self.save("on_training_end")


def lost(path):
    return json.loads((path / STATE).read_text())["episodes_lost"]


def test_due_in_a_step_it_is_written_when_that_is_stored_and_trained_on(tmp_path):
    model = small_model(train_freq=1)
    model.learn(30, callback=SaveAt(tmp_path / "c", at=25))
    saved = load_checkpoint(tmp_path / "c", "CartPole-v1", device="cpu")
    assert saved.num_timesteps == 25
    assert saved.replay_buffer.pos == 25
    assert saved._n_updates == 25 - 10  # one for each step after learning_starts
    assert lost(tmp_path / "c") is None


@pytest.mark.parametrize("hook", ["on_rollout_start", "on_training_end"])
def test_these_moments_are_right(hook, tmp_path):
    small_model().learn(40, callback=SaveIn(hook, tmp_path / "c"))
    assert lost(tmp_path / "c") is None


@pytest.mark.parametrize("hook", ["on_step", "on_rollout_end"])
@pytest.mark.parametrize("make", [small_model, lambda: PPO("MlpPolicy", CARTPOLE(), **BATCHED)])
def test_these_are_too_early_which_the_checkpoint_and_a_warning_say(hook, make, tmp_path):
    with pytest.warns(UserWarning, match="Save from _on_rollout_start"):
        make().learn(40, callback=SaveIn(hook, tmp_path / "c"))
    assert "in the middle of a rollout" in lost(tmp_path / "c")
    with pytest.warns(UserWarning, match="episode is discarded"):
        load_checkpoint(tmp_path / "c", CARTPOLE() if make is not small_model else "CartPole-v1")


@pytest.mark.parametrize("hook", ["on_rollout_start", "on_step"])
def test_ars_has_no_moment_within_learn(hook, tmp_path):
    model = ARS("LinearPolicy", "CartPole-v1", n_delta=1, device="cpu")
    with pytest.warns(UserWarning, match="other candidates"):
        model.learn(200, callback=SaveIn(hook, tmp_path / "c", at=0))
    save_checkpoint(model, tmp_path / "d")
    assert lost(tmp_path / "d") is None


class StopAt(BaseCallback):
    """Stops training in the middle of a rollout, as EarlyStopping does."""

    def _on_step(self):
        return self.num_timesteps < 27


@pytest.mark.parametrize("make", [small_model, lambda: PPO("MlpPolicy", CARTPOLE(), **BATCHED)])
def test_a_run_that_was_stopped_within_a_rollout_has_a_step_in_flight(make, tmp_path):
    model = make().learn(60, callback=StopAt())
    with pytest.warns(UserWarning, match="running episode cannot be resumed"):
        save_checkpoint(model, tmp_path / "c")
    assert lost(tmp_path / "c") is not None


def test_another_model_s_hooks_do_not_matter(tmp_path):
    class Inside(BaseCallback):
        def _on_step(self):
            if self.n_calls == 3:
                save_checkpoint(small_model().learn(8), tmp_path / "c")
            return True

    small_model().learn(8, callback=Inside())
    assert lost(tmp_path / "c") is None


def test_an_interrupted_run_has_a_step_in_flight(tmp_path):
    class Interrupt(BaseCallback):
        def _on_step(self):
            if self.num_timesteps == 15:
                raise Cut
            return True

    model = small_model()
    with pytest.raises(Cut):
        model.learn(20, callback=Interrupt())
    with pytest.warns(UserWarning, match="running episode cannot be resumed"):
        save_checkpoint(model, tmp_path / "c")


@pytest.mark.parametrize(
    ("moment", "told"), [("rollout start", None), ("outside rollouts", None), ("rollout", "middle")]
)
def test_a_callback_may_pass_its_moment(moment, told, tmp_path):
    class Passing(BaseCallback):
        def _on_step(self):
            return True

        def _on_rollout_end(self):
            if self.num_timesteps == 24:
                write_checkpoint(self.model, tmp_path, moment=moment, quiet=True)

    small_model().learn(24, callback=Passing())
    assert json.loads((tmp_path / STATE).read_text())["moment"] == moment
    assert lost(tmp_path) is None if told is None else told in lost(tmp_path)


def test_an_unknown_moment(model, tmp_path):
    with pytest.raises(ValueError, match="moment must be one of 'rollout start', 'rollout', 'outside rollouts'"):
        save_checkpoint(model, tmp_path / "c", moment="on_step")
    assert list(tmp_path.iterdir()) == []
