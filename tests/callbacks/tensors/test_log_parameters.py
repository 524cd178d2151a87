import numpy as np
import pytest
import torch
from sb3_contrib import ARS
from stable_baselines3 import PPO, SAC

from tests.callbacks.runs import make_env, make_model
from tests.callbacks.tensors.test_log_gradients import train
from velora_sb3.callbacks import LogParameters


def norm(parameters):
    return float(torch.cat([parameter.detach().flatten() for parameter in parameters]).double().norm())


def test_the_first_are_those_that_training_starts_with(tmp_path):
    model = make_model(PPO, make_env(tmp_path))
    before = norm(model.policy.parameters())
    rows = train(model, 64, LogParameters(every_n_timesteps=32))
    assert [index for index, row in enumerate(rows.rows) if "parameters/norm/policy" in row] == [0, 2]
    first, second = rows.of("parameters/norm/policy")
    assert first == pytest.approx(before)
    assert second != pytest.approx(before, abs=1e-9)


def test_each_tensor_of_each_network(tmp_path):
    model = make_model(SAC, make_env(tmp_path, SAC, monitor=True), learning_starts=100)  # so they stay what they are
    row = train(model, 20, LogParameters()).rows[0]
    assert row["parameters/norm/critic"] == pytest.approx(norm(model.critic.parameters()))
    for name, parameter in model.policy.named_parameters():
        network = name.partition(".")[0]
        if network != "critic_target":
            assert np.array_equal(row[f"parameters/histogram/{network}/{name}"], parameter.detach().numpy().flatten())
            assert row[f"parameters/norm/{network}/{name}"] == pytest.approx(norm([parameter]))
    assert not any("target" in key for key in row)


def test_ars_has_weights_without_an_optimizer():
    rows = train(ARS("LinearPolicy", "CartPole-v1", n_delta=1, seed=0), 50, LogParameters())
    assert rows.of("parameters/norm/policy")[0] == 0.0  # where ARS begins


def test_histograms_in_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    from stable_baselines3.common.logger import configure
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    model = make_model(PPO, make_env(tmp_path))
    model.set_logger(configure(str(tmp_path / "log"), ["tensorboard"]))
    model.learn(16, callback=LogParameters())
    model.logger.close()
    events = EventAccumulator(str(tmp_path / "log"))
    events.Reload()
    (event,) = events.Histograms("parameters/histogram/policy/value_net.weight")
    assert event.histogram_value.num == 4
    assert events.Scalars("parameters/norm/policy")[0].step == 16
