"""Long keys do not end training: SB3's tables raise if two are the same once they are truncated."""

import io

import pytest
import torch
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.logger import HumanOutputFormat, Logger

from tests.callbacks.runs import make_env, make_model
from velora_sb3.callbacks import ActionAnalysis, LambdaCallback, LearningRateMonitor, LogGradients, LogParameters
from velora_sb3.callbacks.base.logged_values import LoggedValues
from velora_sb3.callbacks.base.tables import excluded

LONG = "a_name_of_more_than_thirty_characters_"


class Groups(torch.optim.Adam):
    """Two named groups of parameters."""

    def __init__(self, parameters, **settings):
        parameters = list(parameters)
        groups = [{"params": parameters[:1], "name": f"{LONG}1"}, {"params": parameters[1:], "name": f"{LONG}2"}]
        super().__init__(groups, **settings)


@pytest.mark.parametrize("key", [f"{'a' * 36}", f"group/{'a' * 33}", f"/{'a' * 35}", "group/", f"{'g' * 40}/a"])
def test_keys_that_fit(key):
    assert excluded(key) is None
    table = HumanOutputFormat(file := io.StringIO())
    table.write({key: 1.0}, {key: ()})
    assert "a..." not in file.getvalue()


@pytest.mark.parametrize("key", [f"{'a' * 37}", f"group/{'a' * 34}", f"/{'a' * 36}"])
def test_keys_that_do_not(key):
    assert excluded(key) == ("stdout", "log")


def hooks():
    def log(metrics_logger, **_):
        for number in (1, 2):
            metrics_logger.log_value(f"mine/{LONG}{number}", 1.0)

    return LambdaCallback(
        on_episode_end=log, on_train_result=lambda result: result.update({f"mine/{LONG}{n}": 1.0 for n in (3, 4)})
    )


@pytest.mark.parametrize(
    ("callback", "settings", "keys"),
    [
        (lambda: ActionAnalysis(16, names=[LONG]), {}, [f"actions/{LONG}_mean", f"actions/{LONG}_min"]),
        (LearningRateMonitor, {"optimizer_class": Groups}, [f"learning_rate/policy/{LONG}{n}" for n in (1, 2)]),
        (hooks, {}, [f"mine/{LONG}{number}" for number in (1, 2, 3, 4)]),
        (lambda: LogGradients(16), {}, ["gradients/norm/policy"]),
        (lambda: LogParameters(16), {}, ["parameters/norm/policy"]),
    ],
)
def test_long_keys_reach_the_other_outputs(callback, settings, keys, tmp_path):
    model, values = make_model(PPO, make_env(tmp_path), policy_kwargs={"net_arch": [4], **settings}), LoggedValues()
    model.set_logger(Logger(None, [HumanOutputFormat(io.StringIO()), values]))
    model.learn(64, callback=callback())
    assert model.num_timesteps == 64
    assert {*keys} <= {*values.values}


def test_optimizers_with_long_names(tmp_path):
    model = make_model(SAC, make_env(tmp_path))
    for number in (1, 2):
        setattr(model, f"{LONG}{number}", torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.1))
    model.set_logger(Logger(None, [HumanOutputFormat(io.StringIO()), values := LoggedValues()]))
    model.learn(32, callback=[LearningRateMonitor(), LogParameters(8)], log_interval=1)
    assert {f"learning_rate/{LONG}1", f"parameters/norm/{LONG}2"} <= {*values.latest()}
