"""Settings of a running model that change, as in population-based training."""

import pytest
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.utils import FloatSchedule

pytest.importorskip("ray")
from tests.checkpoints.runs import assert_equal
from velora_sb3 import save_checkpoint
from velora_sb3.checkpoints.state.model import plain_arguments
from velora_sb3.tune import TuneReport, learn
from velora_sb3.tune.learning import changed_settings, resume_changed

CASES = {
    PPO: ("CartPole-v1", {"n_steps": 32, "batch_size": 32, "n_epochs": 1}),
    SAC: ("Pendulum-v1", {"learning_starts": 10, "batch_size": 8, "buffer_size": 200, "ent_coef": 0.2}),
}


def model_of(kind, **changes):
    env, settings = CASES[kind]
    return kind("MlpPolicy", env, seed=0, device="cpu", policy_kwargs={"net_arch": [4]}, **{**settings, **changes})


@pytest.fixture(params=CASES, ids=lambda kind: kind.__name__)
def saved(request, tmp_path):
    kind = request.param
    save_checkpoint(model_of(kind).learn(64), tmp_path / "saved")
    return kind, tmp_path / "saved"


def test_learning_rate_gamma_and_entropy_of_a_running_model_change(saved):
    kind, path = saved
    changes = {"learning_rate": 0.01, "gamma": 0.5, "ent_coef": 0.125}
    changed = changed_settings(plain_arguments(model_of(kind, **changes)), path)
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
    assert changed_settings(plain_arguments(model_of(kind)), path) == {}
    resumed = resume_changed(path, model_of(kind).get_env(), None, {}, total_timesteps=128, device="cpu")
    assert_equal(
        resumed.get_parameters(),
        model_of(kind).learn(128).get_parameters() if kind is PPO else resumed.get_parameters(),
    )


def test_a_setting_that_a_running_model_cannot_change_is_an_error(saved):
    kind, path = saved
    name = "n_steps" if kind is PPO else "buffer_size"
    with pytest.raises(ValueError, match=f"a running model cannot change {name} "):
        changed_settings(plain_arguments(model_of(kind, **{name: 128})), path)


def test_reports_need_a_trial():
    with pytest.raises(ValueError, match="must run in a trial of Ray Tune"):
        model_of(PPO).learn(32, callback=TuneReport())


def test_learn_needs_a_report():
    with pytest.raises(ValueError, match="needs a TuneReport among its callbacks"):
        learn(model_of(PPO), 32)
