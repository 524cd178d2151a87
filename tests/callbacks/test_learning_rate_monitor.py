import pytest
import torch
from sb3_contrib import ARS
from stable_baselines3 import A2C, PPO, SAC
from stable_baselines3.common.logger import Logger

from tests.callbacks.runs import make_env, make_model
from velora_sb3.callbacks import LearningRateMonitor
from velora_sb3.callbacks.base.logged_values import LoggedValues


def logged(model, timesteps, callback, **settings):
    values = LoggedValues()
    model.set_logger(Logger(None, [values]))
    model.learn(timesteps, callback=callback, log_interval=1, **settings)
    return values.values


def test_all_optimizers_of_sac(tmp_path):
    values = logged(make_model(SAC, make_env(tmp_path, SAC, monitor=True)), 20, LearningRateMonitor(log_momentum=True))
    optimizers = ("actor", "critic", "ent_coef")
    assert {key: values[key] for key in values if key.startswith(("learning_rate", "momentum"))} == {
        **{f"learning_rate/{name}": 3e-4 for name in optimizers},
        **{f"momentum/{name}": 0.9 for name in optimizers},
    }


def test_the_rate_is_that_of_the_last_update(tmp_path):
    model = make_model(PPO, make_env(tmp_path, monitor=True), learning_rate=lambda remaining: remaining)
    monitor = LearningRateMonitor()
    values = logged(model, 64, monitor)
    # Rollouts of 16: SB3 sets 0.75, 0.5, 0.25 and 0 before the updates, and logs before each.
    assert values["learning_rate/policy"] == 0.25
    assert monitor.latest == {"learning_rate/policy": 0.25}


@pytest.mark.parametrize(
    ("optimizer", "momentum"),
    [(torch.optim.SGD, 0.0), (torch.optim.RMSprop, 0.0), (torch.optim.Adam, 0.9), (torch.optim.Adagrad, None)],
)
def test_momentum(tmp_path, optimizer, momentum):
    model = make_model(PPO, make_env(tmp_path, monitor=True), policy_kwargs={"optimizer_class": optimizer})
    values = logged(model, 16, LearningRateMonitor(log_momentum=True))
    assert values.get("momentum/policy") == momentum
    assert "momentum/policy" not in logged(model, 16, LearningRateMonitor())


def test_parameter_groups_are_told_apart(tmp_path):
    model = A2C("MlpPolicy", make_env(tmp_path, monitor=True), device="cpu")
    first, *others = model.policy.parameters()
    model.policy.optimizer = torch.optim.SGD([{"params": [first], "name": "first"}, {"params": others}], lr=0.5)
    monitor = LearningRateMonitor()
    model.learn(5, callback=monitor)
    assert set(monitor.latest) == {"learning_rate/policy/first", "learning_rate/policy/1"}


def test_ars_has_none():
    monitor = LearningRateMonitor()
    ARS("LinearPolicy", "CartPole-v1", n_delta=1, seed=0).learn(50, callback=monitor)
    assert monitor.latest == {}
