"""Callbacks go on from what they remembered."""

import json
import warnings
from copy import deepcopy

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import DQN
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    CheckpointCallback,
    EvalCallback,
    EveryNTimesteps,
    StopTrainingOnMaxEpisodes,
    StopTrainingOnNoModelImprovement,
)
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from tests.checkpoints.conftest import small_model
from tests.checkpoints.runs import CARTPOLE, CASES, Cut, Record, SaveAt, assert_equal, disturb, everything
from velora_sb3 import resume_training, save_checkpoint
from velora_sb3.callbacks import EarlyStopping, LogGradients, LogMetrics, LogParameters
from velora_sb3.checkpoints import CheckpointError
from velora_sb3.checkpoints.state.callbacks import as_callback, named_callbacks, walk


def evaluation(after=None, freq=15):
    env = Monitor(gym.make("CartPole-v1", max_episode_steps=20))
    env.reset(seed=8)
    return EvalCallback(env, callback_after_eval=after, eval_freq=freq, n_eval_episodes=2, verbose=0)


class Judgements(BaseCallback):
    """Every evaluation's reward and the best so far."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def _on_step(self):
        self.seen.append((self.parent.num_timesteps, self.parent.last_mean_reward, self.parent.best_mean_reward))
        return True


def halves(path, make_callbacks, steps=120, at=60, env=CARTPOLE, save_first=True):
    """A whole run's callbacks and model, and those of one that was cut and resumed."""
    settings = {**CASES["DQN"].settings, "seed": 1}

    def new():
        return DQN("MlpPolicy", env(), **deepcopy(settings))

    whole = make_callbacks()
    model = new()
    model.learn(steps, callback=[SaveAt(), *whole])
    save, cut = SaveAt(path, at, more=10), make_callbacks()
    with pytest.raises(Cut):
        new().learn(steps, callback=[save, *cut] if save_first else [*cut, save])
    disturb()
    rest = make_callbacks()
    resumed = resume_training(path, env(), [SaveAt(), *rest], device="cpu")
    return whole, model, rest, resumed


class Gone(BaseCallback):
    """Asks an environment whose process has ended."""

    def _on_step(self):
        return True

    def state_dict(self):
        raise BrokenPipeError

    def load_state_dict(self, state):
        raise AssertionError


def test_a_callback_that_asks_environments_that_are_gone_is_left_out_with_a_warning(tmp_path):
    model = small_model().learn(20)
    with pytest.warns(RuntimeWarning, match="the state of Gone 1 is not in the checkpoint: BrokenPipeError"):
        save_checkpoint(model, tmp_path / "c", callbacks=Gone())
    assert resume_training(tmp_path / "c", "CartPole-v1", Gone(), total_timesteps=28, device="cpu").num_timesteps == 28


def test_evaluations_go_on_with_the_best_reward_and_their_own_randomness(tmp_path):
    whole, model, rest, resumed = halves(tmp_path / "c", lambda: [evaluation(Judgements())])
    seen, expected = rest[0].callback.seen, whole[0].callback.seen
    assert seen == [judged for judged in expected if judged[0] > 60] and len(seen) == 4
    assert rest[0].best_mean_reward == whole[0].best_mean_reward
    assert_equal(everything(resumed), everything(model))


def test_early_stopping_keeps_its_patience(tmp_path):
    def make():
        return [EarlyStopping(9.0, patience=7)]

    (one,), model, (other,), resumed = halves(tmp_path / "c", make, steps=2000)
    assert one.stopped_early and other.stopped_early
    assert one.reason == other.reason and model.num_timesteps == resumed.num_timesteps < 2000
    assert one.state_dict() == other.state_dict()


def test_early_stopping_on_evaluations_keeps_its_patience(tmp_path):
    def make():
        return [evaluation(EarlyStopping(5.0, patience=6))]

    (one,), model, (other,), resumed = halves(tmp_path / "c", make, steps=400)
    assert one.callback.stopped_early and other.callback.reason == one.callback.reason
    assert model.num_timesteps == resumed.num_timesteps < 400


@pytest.mark.parametrize("save_first", [True, False])
def test_what_is_due_at_the_checkpoint_is_logged_after_it(tmp_path, save_first):
    """At timestep 60 gradients and weights are due, before or after the checkpoint; the event comes at 75."""

    def make():
        tensors = [log(20, histograms=False) for log in (LogGradients, LogParameters)]
        return [*tensors, LogMetrics(10), EveryNTimesteps(25, LogMetrics(55)), Record()]

    whole, _, rest, _ = halves(tmp_path / "c", make, save_first=save_first)
    rows = whole[-1].since(60)["rows"]
    assert {timestep for timestep, row in rows if "gradients/norm/policy" in row} == {70, 90, 110}
    assert {timestep for timestep, row in rows if "parameters/norm/policy" in row} == {70, 90, 110}
    assert 75 in dict(rows)
    assert_equal(rest[-1].rows, rows)


def test_sb3_s_counters_go_on(tmp_path):
    def make():
        return [
            evaluation(StopTrainingOnNoModelImprovement(3, min_evals=2), freq=11),
            EveryNTimesteps(25, Count()),
            StopTrainingOnMaxEpisodes(1000),
            Count(),
        ]

    whole, _, rest, _ = halves(tmp_path / "c", make)
    for one, other in zip(whole, rest, strict=True):
        assert other.n_calls == one.n_calls
    assert rest[0].callback.no_improvement_evals == whole[0].callback.no_improvement_evals
    assert rest[0].callback.last_best_mean_reward == whole[0].callback.last_best_mean_reward
    assert (
        rest[1].last_time_trigger == whole[1].last_time_trigger
        and rest[1].callback.n_calls == whole[1].callback.n_calls
    )
    assert rest[2].n_episodes == whole[2].n_episodes


class Count(BaseCallback):
    """Does nothing."""

    def _on_step(self):
        return True


class Keeping(Count):
    """A user's callback that tells its state."""

    def __init__(self, thing=None):
        super().__init__()
        self.thing = thing

    def state_dict(self):
        return {"thing": self.thing}

    def load_state_dict(self, state):
        self.thing = state["thing"]


def saved_and_resumed(path, callbacks, again):
    model = small_model()
    model.learn(20, callback=callbacks)
    save_checkpoint(model, path, callbacks=callbacks)
    return resume_training(path, "CartPole-v1", again, total_timesteps=24, device="cpu")


def test_a_user_s_callback_tells_its_state(tmp_path):
    first, second = Keeping({"array": np.arange(3), "numbers": (1, 2.5)}), Keeping("second")
    again = [Keeping(), Keeping()]
    saved_and_resumed(tmp_path / "c", [first, Count(), second], again)
    assert_equal(again[0].thing, first.thing)
    assert again[1].thing == "second" and again[1].n_calls > 0


def test_a_state_that_is_not_plain_data_is_refused_with_the_callback_s_name(tmp_path):
    with pytest.raises(CheckpointError, match=r"state_dict\(\) of Keeping 2 .*\['thing'\] \(of type object\)"):
        saved_and_resumed(tmp_path / "c", [Keeping(), Keeping(object())], None)


def test_a_callback_that_is_missing_is_told(tmp_path):
    with pytest.warns(UserWarning, match="the state of Keeping 1, but there is no such callback"):
        saved_and_resumed(tmp_path / "c", [Keeping("x")], [Count()])


def test_functions_and_nothing_are_callbacks_too(tmp_path):
    calls = []

    def callback(locals_, globals_):
        calls.append(locals_["self"].num_timesteps)
        return True

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        saved_and_resumed(tmp_path / "c", callback, callback)
        saved_and_resumed(tmp_path / "d", None, None)
    assert calls[-1] == 24


def test_names_are_class_and_number():
    inner = CallbackList([Count(), EveryNTimesteps(3, Count())])
    names = [name for name, _ in named_callbacks(as_callback([Keeping(), inner, Count()]))]
    assert names == ["Keeping 1", "Count 1", "EveryNTimesteps 1", "Count 2", "Count 3"]


class Tracking(Count):
    """Records in a run."""

    run_id = "run-7"


def test_the_runs_of_trackers_are_noted(tmp_path):
    model = small_model()
    path = save_checkpoint(model, tmp_path / "c", callbacks=[Tracking(), Count()])
    assert json.loads((path / "state.json").read_text())["trackers"] == {"Tracking 1": "run-7"}


def test_evaluation_environments_with_normalization(tmp_path):
    def normalized():
        return VecNormalize(DummyVecEnv([CARTPOLE]))

    def make():
        eval_env = VecNormalize(DummyVecEnv([CARTPOLE]), training=False, norm_reward=False)
        eval_env.seed(4)
        return [EvalCallback(eval_env, eval_freq=15, n_eval_episodes=2, verbose=0), Record()]

    (one, record), model, (other, rest), resumed = halves(tmp_path / "c", make, env=normalized)
    assert_equal(everything(resumed), everything(model))
    assert other.best_mean_reward == one.best_mean_reward
    assert_equal(rest.rows, record.since(60)["rows"])


def test_checkpoint_callbacks_save_when_they_would_have(tmp_path):
    def make():
        return [CheckpointCallback(25, str(tmp_path / f"zips{len(list(tmp_path.iterdir()))}"))]

    whole, _, rest, _ = halves(tmp_path / "c", make)
    assert rest[0].n_calls == whole[0].n_calls


def test_walk_leaves_out_what_is_no_callback():
    class Holder(Judgements):
        callbacks = ["not one"]

    holder = Holder()
    assert list(walk(holder)) == [holder]
