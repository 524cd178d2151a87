"""Settings of a running model that change, as in population-based training."""

import numpy as np
import pytest
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.utils import FloatSchedule, LinearSchedule

pytest.importorskip("ray")
from tests.checkpoints.runs import assert_equal
from velora_sb3 import save_checkpoint
from velora_sb3.tune import TuneReport, learn
from velora_sb3.tune.engine import Plan, make_scheduler
from velora_sb3.tune.learning import changed_settings, resume_changed
from velora_sb3.tune.space import Range

CASES = {
    PPO: ("CartPole-v1", {"n_steps": 32, "batch_size": 32, "n_epochs": 1}),
    SAC: ("Pendulum-v1", {"learning_starts": 10, "batch_size": 8, "buffer_size": 200, "ent_coef": 0.2}),
}


def model_of(kind, policy="MlpPolicy", **changes):
    env, settings = CASES[kind]
    fixed = {"seed": 0, "device": "cpu", "policy_kwargs": {"net_arch": [4]}}
    return kind(policy, env, **{**fixed, **settings, **changes})


@pytest.fixture(params=CASES, ids=lambda kind: kind.__name__)
def saved(request, tmp_path):
    kind = request.param
    save_checkpoint(model_of(kind).learn(64), tmp_path / "saved")
    return kind, tmp_path / "saved"


def test_learning_rate_gamma_and_entropy_of_a_running_model_change(saved):
    kind, path = saved
    changes = {"learning_rate": 0.01, "gamma": 0.5, "ent_coef": 0.125}
    changed = changed_settings(model_of(kind, **changes), path)
    assert changed == changes
    model = resume_changed(path, model_of(kind).get_env(), None, changed, total_timesteps=128, device="cpu")
    assert model.num_timesteps == 128
    assert model.gamma == 0.5
    optimizer = model.policy.optimizer if kind is PPO else model.actor.optimizer
    assert {group["lr"] for group in optimizer.param_groups} == {0.01}
    if kind is PPO:
        assert (model.ent_coef, model.rollout_buffer.gamma) == (0.125, 0.5)
        assert isinstance(model.clip_range, FloatSchedule)
    else:
        assert model.ent_coef_tensor.item() == 0.125


def test_nothing_changes_if_the_settings_are_the_same(saved):
    kind, path = saved
    assert changed_settings(model_of(kind), path) == {}
    resumed = resume_changed(path, model_of(kind).get_env(), None, {}, total_timesteps=128, device="cpu")
    assert_equal(
        resumed.get_parameters(),
        model_of(kind).learn(128).get_parameters() if kind is PPO else resumed.get_parameters(),
    )


def test_a_setting_that_a_running_model_cannot_change_is_an_error(saved):
    kind, path = saved
    name = "n_steps" if kind is PPO else "buffer_size"
    with pytest.raises(ValueError, match=f"a running model cannot change {name} "):
        changed_settings(model_of(kind, **{name: 128}), path)


def test_settings_that_are_none_or_schedules_change_too(tmp_path):
    save_checkpoint(model_of(PPO, target_kl=0.02, clip_range=0.2).learn(32), tmp_path / "saved")
    changes = {"target_kl": None, "learning_rate": LinearSchedule(0.01, 0.0, 1.0), "clip_range": 0.1}
    changed = changed_settings(model_of(PPO, **changes), tmp_path / "saved")
    assert changed == changes
    env = model_of(PPO).get_env()
    model = resume_changed(tmp_path / "saved", env, None, changed, total_timesteps=64, device="cpu")
    assert model.target_kl is None
    assert (model.lr_schedule(1.0), model.clip_range(1.0)) == (0.01, 0.1)


@pytest.mark.parametrize(
    ("kind", "before", "after", "named"),
    [
        (PPO, {}, {"policy_kwargs": {"net_arch": [8]}}, r"policy_kwargs\['net_arch'\]"),
        (PPO, {"policy_kwargs": {"units": 8}}, {"policy_kwargs": {"units": 16}}, r"policy_kwargs\['units'\] 8 to 16"),
        (SAC, {}, {"train_freq": 4}, "train_freq"),
        (SAC, {}, {"ent_coef": "auto"}, "ent_coef 0.2 to 'auto'"),
    ],
    ids=lambda value: "" if isinstance(value, str) else None,
)
def test_differences_that_are_no_numbers_are_errors_too(kind, before, after, named, tmp_path):
    policy = "LiquidPolicy" if before else "MlpPolicy"
    save_checkpoint(model_of(kind, policy=policy, **before).learn(32), tmp_path / "saved")
    with pytest.raises(ValueError, match=f"a running model cannot change {named}"):
        changed_settings(model_of(kind, policy=policy, **after), tmp_path / "saved")


def test_what_sb3_adds_is_no_difference(tmp_path):
    settings = {"n_steps": 3, "action_noise": NormalActionNoise(np.zeros(1), np.ones(1))}
    save_checkpoint(model_of(SAC, **settings).learn(32), tmp_path / "saved")
    assert changed_settings(model_of(SAC, **settings, gamma=0.5), tmp_path / "saved") == {"gamma": 0.5}


def test_a_population_perturbs_only_what_can_change():
    choices = {"ent_coef": ("auto", 0.1), "tau": (0.01, 0.02), "units": (8, 16)}
    space = {name: Range("choice", values) for name, values in choices.items()}
    plan = Plan(space, 4, 1000, 100, "pbt", "random", 0, {"cpu": 1}, None)
    assert list(make_scheduler(plan)._hyperparam_mutations) == ["tau"]


def test_reports_need_a_trial():
    with pytest.raises(ValueError, match="must run in a trial of Ray Tune"):
        model_of(PPO).learn(32, callback=TuneReport())


def test_learn_needs_a_report():
    with pytest.raises(ValueError, match="needs a TuneReport among its callbacks"):
        learn(model_of(PPO), 32)
