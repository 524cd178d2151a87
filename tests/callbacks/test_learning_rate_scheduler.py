import math
import re

import pytest
import torch
from sb3_contrib import TQC, TRPO
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.callbacks import BaseCallback, EveryNTimesteps
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.utils import LinearSchedule

from tests.callbacks.runs import OFF_POLICY, RaiseAt, StopAt, make_env, make_model, weights
from velora_sb3 import resume_training, save_checkpoint
from velora_sb3.callbacks import LearningRateScheduler

OTHERS = {TQC: OFF_POLICY, TRPO: {"n_steps": 16, "batch_size": 16}}


def optimizers(model):
    """Every optimizer of a model, by its name."""
    held = {"policy": model.policy, "actor": getattr(model, "actor", None), "critic": getattr(model, "critic", None)}
    found = {name: getattr(part, "optimizer", None) for name, part in held.items()}
    found["entropy"] = getattr(model, "ent_coef_optimizer", None)
    return {name: optimizer for name, optimizer in found.items() if isinstance(optimizer, torch.optim.Optimizer)}


def rates(model):
    """The rate of each optimizer, which all of its groups share."""
    found = {}
    for name, optimizer in optimizers(model).items():
        (found[name],) = {group["lr"] for group in optimizer.param_groups}
    return found


def model_for(tmp_path, algorithm, n_envs=2, **settings):
    env = make_env(tmp_path, DQN if algorithm is DQN else PPO, n_envs)
    return make_model(algorithm, env, **OTHERS.get(algorithm, {}), **settings)


class Rates(BaseCallback):
    """Notes the optimizers' rates whenever a rollout starts, and at which timestep they were set."""

    def _on_training_start(self):
        self.seen = []

    def _on_rollout_start(self):
        self.seen.append((self.model.num_timesteps, self.model.logger.name_to_value.get("train/learning_rate")))

    def _on_step(self):
        return True


@pytest.mark.parametrize("algorithm", [PPO, SAC, DQN, TQC, TRPO])
def test_every_optimizer_has_the_new_rate(algorithm, tmp_path):
    model = model_for(tmp_path, algorithm, learning_rate=1e-3)
    expected = {"actor", "critic", "entropy"} if algorithm in (SAC, TQC) else {"policy"}
    assert set(optimizers(model)) == expected
    scheduler = LearningRateScheduler("linear", initial_lr=0.5, final_lr=0.1, timesteps=1000)
    model.learn(64, callback=scheduler)
    assert rates(model) == pytest.approx(dict.fromkeys(expected, 0.5 - 0.4 * 0.064))


def what_they_step(model):
    """What each optimizer steps, in one piece, by the optimizer's name."""
    groups = {name: optimizer.param_groups for name, optimizer in optimizers(model).items()}
    return {
        name: torch.cat([parameter.detach().flatten() for group in held for parameter in group["params"]]).clone()
        for name, held in groups.items()
    }


@pytest.mark.parametrize("algorithm", [PPO, SAC, DQN])
def test_parameters_move_with_the_rate_and_stand_still_without(algorithm, tmp_path):
    def moved(rate):
        model = model_for(tmp_path, algorithm, learning_rate=1e-3)
        before = what_they_step(model)
        model.learn(64, callback=LearningRateScheduler(lambda remaining: rate))
        return {name: float((after - before[name]).abs().mean()) for name, after in what_they_step(model).items()}

    still, slow, fast = moved(0.0), moved(1e-4), moved(1e-2)
    assert set(still) == ({"actor", "critic", "entropy"} if algorithm is SAC else {"policy"})
    assert set(still.values()) == {0.0}
    assert all(0 < 10 * slow[name] < fast[name] for name in still)


def test_setting_learning_rate_alone_changes_nothing(tmp_path):
    """Why the callback stands in for ``lr_schedule``."""

    class Naive(BaseCallback):
        def _on_step(self):
            self.model.learning_rate = 0.5
            return True

    model = model_for(tmp_path, PPO, learning_rate=1e-3)
    model.learn(64, callback=Naive())
    assert rates(model) == {"policy": 1e-3}


@pytest.mark.parametrize(
    ("schedule", "settings", "at_0", "at_150", "at_5000"),
    [
        ("linear", {"timesteps": 200}, 1.0, 0.25, 0.0),
        ("linear", {"final_lr": 0.5}, 1.0, 0.925, 0.5),  # over the whole of learn(1000)
        ("cosine", {"timesteps": 200, "final_lr": 0.2}, 1.0, 0.2 + 0.4 * (1 + math.cos(0.75 * math.pi)), 0.2),
        ("exponential", {"decay_rate": 0.5, "every_n_timesteps": 100, "final_lr": 0.01}, 1.0, 0.5**1.5, 0.01),
        ("step", {"decay_rate": 0.5, "every_n_timesteps": 100}, 1.0, 0.5, 0.5**50),
        (LinearSchedule(1.0, 0.0, 0.5), {}, 1.0, 0.7, 0.0),
        (lambda remaining: remaining**2, {}, 1.0, 0.85**2, 0.0),  # never beyond its ends, where it would grow again
    ],
)
def test_schedules(schedule, settings, at_0, at_150, at_5000, tmp_path):
    scheduler = LearningRateScheduler(schedule, **settings)
    model = model_for(tmp_path, PPO, learning_rate=1.0)
    model._setup_learn(1000)
    scheduler.init_callback(model)
    scheduler.on_training_start({"total_timesteps": 1000}, {})
    found = [scheduler.learning_rate(timestep) for timestep in (0, 150, 5000)]
    assert found == pytest.approx([at_0, at_150, at_5000])
    scheduler.on_training_end()


def test_the_rate_is_logged_before_each_update(tmp_path):
    model, seen = model_for(tmp_path, PPO), Rates()
    model.learn(
        96, callback=[LearningRateScheduler("step", initial_lr=1.0, decay_rate=0.5, every_n_timesteps=32), seen]
    )
    assert seen.seen[1:] == [(32, 0.5), (64, 0.25)]


def test_the_last_rollout_may_end_behind_the_total(tmp_path):
    model = model_for(tmp_path, PPO)
    model.learn(40, callback=LearningRateScheduler("linear", initial_lr=1.0))  # 64 steps: SB3's progress is negative
    assert rates(model) == {"policy": 0.0}


def test_afterwards_the_model_has_its_own_schedule_again(tmp_path):
    model = model_for(tmp_path, PPO, learning_rate=0.25)
    own = model.lr_schedule
    model.learn(32, callback=LearningRateScheduler("linear", final_lr=0.1))
    assert model.lr_schedule is own
    model.learn(32)
    assert rates(model) == {"policy": 0.25}


def test_a_run_that_was_cut_short_leaves_nothing_behind(tmp_path):
    model = model_for(tmp_path, PPO, learning_rate=0.25)
    own, cut = model.lr_schedule, LearningRateScheduler("linear")
    with pytest.raises(KeyboardInterrupt):
        model.learn(96, callback=[cut, RaiseAt(20)])
    assert model.lr_schedule is not own
    second = LearningRateScheduler("linear")
    model.learn(32, callback=[second, StopAt(5)])
    del cut
    assert model.lr_schedule is own
    assert second.learning_rate(0) == 0.25


def test_a_model_saved_in_training_can_be_loaded(tmp_path):
    model = model_for(tmp_path, PPO, learning_rate=0.25)
    with pytest.raises(KeyboardInterrupt):
        model.learn(96, callback=[LearningRateScheduler("linear"), RaiseAt(20)])
    model.save(tmp_path / "model.zip")
    loaded = PPO.load(tmp_path / "model.zip", env=make_env(tmp_path, n_envs=2), device="cpu")
    assert loaded.lr_schedule(0.5) == 0.25


def test_learning_on_goes_on_where_it_was(tmp_path):
    def rate_after(*runs):
        model = model_for(tmp_path, PPO)
        for steps in runs:
            scheduler = LearningRateScheduler("linear", initial_lr=1.0, timesteps=1000)
            model.learn(steps, callback=scheduler, reset_num_timesteps=False)
        return rates(model)

    assert rate_after(32, 64) == rate_after(96) == {"policy": pytest.approx(0.904)}


def test_a_resumed_run_learns_as_an_uninterrupted_one(tmp_path):
    class Save(BaseCallback):
        def _on_rollout_start(self):
            if self.num_timesteps == 32:
                save_checkpoint(self.model, tmp_path / "checkpoint", callbacks=self.locals["callback"])

        def _on_step(self):
            return True

    def scheduler():
        return LearningRateScheduler("cosine", initial_lr=0.05, final_lr=0.001)

    whole = make_model(PPO, make_vec_env("CartPole-v1", 2, seed=0))
    whole.learn(96, callback=[scheduler(), Save()])
    env = make_vec_env("CartPole-v1", 2)
    resumed = resume_training(tmp_path / "checkpoint", env, [scheduler(), Save()], device="cpu")
    assert resumed.num_timesteps == whole.num_timesteps == 96
    assert rates(resumed) == rates(whole)
    assert torch.equal(weights(resumed), weights(whole))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"schedule": "warm"}, "schedule must be one of linear, cosine, exponential, step, or a function, got 'warm'"),
        ({"schedule": 3e-4}, "or a function, got 0.0003"),
        ({"schedule": "linear", "initial_lr": 0}, "initial_lr must be a finite number above 0, got 0"),
        ({"schedule": "linear", "final_lr": -1e-4}, "final_lr must be a finite number at least 0, got -0.0001"),
        ({"schedule": "linear", "timesteps": 0}, "timesteps must be an integer of at least 1, got 0"),
        ({"schedule": "step", "decay_rate": 1.5}, "decay_rate must be a finite number above 0 and at most 1, got 1.5"),
        ({"schedule": "step", "every_n_timesteps": 0}, "every_n_timesteps must be an integer of at least 1, got 0"),
        ({"schedule": "linear", "decay_rate": 0.5}, "schedule 'linear' does not use decay_rate: remove it"),
        ({"schedule": abs, "initial_lr": 1.0}, "a function as schedule does not use initial_lr: remove it"),
    ],
)
def test_bad_arguments(arguments, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        LearningRateScheduler(**arguments)


@pytest.mark.parametrize("rate", [-1.0, float("nan"), "fast", None])
def test_a_function_that_gives_no_rate(rate, tmp_path):
    model = model_for(tmp_path, PPO)
    with pytest.raises(ValueError, match=re.escape(f"a learning rate of at least 0, got {rate!r} at remaining")):
        model.learn(32, callback=LearningRateScheduler(lambda remaining: rate))


def test_where_it_cannot_stand(tmp_path):
    model = model_for(tmp_path, PPO)
    with pytest.raises(ValueError, match="must see every step of training: .* not to EveryNTimesteps"):
        model.learn(32, callback=EveryNTimesteps(10, LearningRateScheduler("linear")))
    with pytest.raises(ValueError, match="two callbacks set the learning rate"):
        model.learn(32, callback=[LearningRateScheduler("linear"), LearningRateScheduler("cosine")])
    with pytest.raises(RuntimeError, match="only known once training has started"):
        LearningRateScheduler("linear").learning_rate(0)
