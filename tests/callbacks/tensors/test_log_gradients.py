import numpy as np
import pytest
import torch
from sb3_contrib import ARS, TRPO
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.callbacks import BaseCallback, EveryNTimesteps
from stable_baselines3.common.logger import KVWriter, Logger, configure

from tests.callbacks.runs import make_env, make_model
from velora_sb3.callbacks import LogGradients
from velora_sb3.callbacks.base.optimizers import optimizers_of
from velora_sb3.callbacks.tensors.log_tensors import log_tensors

RATE = 1e-3


class Rows(KVWriter):
    def __init__(self):
        self.rows = []

    def write(self, key_values, key_excluded, step=0):
        self.rows.append(dict(key_values))

    def close(self):
        pass

    def of(self, key):
        return [row[key] for row in self.rows if key in row]


class Updates(BaseCallback):
    """How far each update has moved the weights of each network."""

    def __init__(self):
        super().__init__()
        self.moved = []

    def _weights(self):
        return {
            name: torch.cat([p.detach().flatten() for group in optimizer.param_groups for p in group["params"]])
            for name, optimizer in optimizers_of(self.model).items()
        }

    def _on_rollout_start(self):
        now = self._weights()
        if self.n_calls:
            self.moved.append({name: float((now[name] - self.before[name]).double().norm()) for name in now})
        self.before = now

    def _on_step(self):
        return True


def train(model, timesteps, *callbacks):
    rows = Rows()
    model.set_logger(Logger(None, [rows]))
    model.learn(timesteps, callback=list(callbacks), log_interval=1)
    return rows


def sgd(algorithm, tmp_path, **settings):
    kwargs = {"policy_kwargs": {"net_arch": [4], "optimizer_class": torch.optim.SGD}, "learning_rate": RATE}
    env = make_env(tmp_path, algorithm, monitor=True, length=3)
    if algorithm is A2C:
        return A2C("MlpPolicy", env, n_steps=6, seed=0, device="cpu", **kwargs, **settings)
    return make_model(algorithm, env, learning_starts=0, **kwargs, **settings)


def rounded(values):
    return pytest.approx(values, rel=1e-2)


@pytest.mark.parametrize("algorithm", [A2C, DQN, SAC])
def test_norms_are_what_the_optimizer_moved_the_weights_by(tmp_path, algorithm):
    """With SGD a step is the rate times the gradient."""
    updates, model = Updates(), sgd(algorithm, tmp_path)
    rows = train(model, 12, updates, LogGradients(every_n_timesteps=6))
    networks = [name for name in optimizers_of(model) if name != "ent_coef"]  # which SB3 gives an Adam
    for name in networks:
        first, *_ = rows.of(f"gradients/norm/{name}")
        assert first == rounded(updates.moved[0][name] / RATE)


def test_what_is_left_in_grad_is_not_what_the_critic_used(tmp_path):
    """The trap: SAC's actor loss leaves gradients in the critic."""
    left = []

    class Left(BaseCallback):
        def _on_rollout_start(self):
            gradients = [p.grad.flatten() for p in self.model.critic.parameters() if p.grad is not None]
            left.append(float(torch.cat(gradients).norm()) if gradients else None)

        def _on_step(self):
            return True

    rows = train(sgd(SAC, tmp_path), 12, Left(), LogGradients())
    assert rows.of("gradients/norm/critic") != [pytest.approx(left[1], rel=1e-2)]


def test_each_tensor_has_a_norm_and_a_histogram(tmp_path):
    model = sgd(SAC, tmp_path)
    rows = train(model, 12, LogGradients())
    (row,) = [row for row in rows.rows if "gradients/norm/actor" in row]
    names = {name for name, _ in model.policy.named_parameters() if name.startswith("actor.")}
    norms = [row[f"gradients/norm/actor/{name}"] for name in names]
    arrays = [row[f"gradients/histogram/actor/{name}"] for name in names]
    assert row["gradients/norm/actor"] == pytest.approx(float(np.linalg.norm(norms)))
    assert [float(np.linalg.norm(array)) for array in arrays] == pytest.approx(norms, rel=1e-4)
    assert "gradients/norm/ent_coef/log_ent_coef" in row
    assert "gradients/nonfinite/actor" not in row


def test_the_interval(tmp_path):
    """Of the first update, and of those after 12 and 24 timesteps; each is logged in the row of the next rollout."""
    rows = train(sgd(A2C, tmp_path), 36, LogGradients(every_n_timesteps=12, histograms=False))
    with_norms = [index for index, row in enumerate(rows.rows) if "gradients/norm/policy" in row]
    assert with_norms == [1, 3, 5]
    assert not any("histogram" in key for row in rows.rows for key in row)


def test_delayed_updates_of_the_actor_come_when_they_are_made(tmp_path):
    settings = {"policy_delay": 4, "learning_starts": 0, "buffer_size": 50, "batch_size": 4}
    model = TD3("MlpPolicy", make_env(tmp_path, TD3, monitor=True), seed=0, device="cpu", **settings)
    rows = train(model, 40, LogGradients())
    assert len(rows.of("gradients/norm/critic")) == len(rows.of("gradients/norm/actor")) == 1


def test_clipping_is_seen(tmp_path):
    model = sgd(A2C, tmp_path, max_grad_norm=1e-3)
    rows = train(model, 12, LogGradients())
    assert rows.of("gradients/norm/policy") == [pytest.approx(1e-3, rel=1e-2)]


def test_what_is_not_finite_is_counted(tmp_path):
    model = make_model(DQN, make_env(tmp_path, DQN, monitor=True, reward=float("nan"), length=3), learning_starts=0)
    rows = train(model, 12, LogGradients())
    assert rows.of("gradients/nonfinite/policy")[0] > 0
    assert np.isnan(rows.of("gradients/norm/policy")[0])


def test_histograms_are_of_what_is_finite():
    """TensorBoard fails at one of nothing."""
    logger = Logger(None, [])
    tensors = {"some": torch.tensor([1.0, np.nan, 2.0]), "none": torch.tensor([np.inf]), "empty": torch.zeros(0)}
    log_tensors(logger, "gradients", "policy", tensors, True)
    histograms = {key: value.tolist() for key, value in logger.name_to_value.items() if "histogram" in key}
    assert histograms == {"gradients/histogram/policy/some": [1.0, 2.0]}
    assert logger.name_to_value["gradients/nonfinite/policy"] == 2


def test_trpo_and_ars(tmp_path):
    model = TRPO("MlpPolicy", make_env(tmp_path, monitor=True), n_steps=16, batch_size=16, seed=0, device="cpu")
    rows = train(model, 32, LogGradients())
    assert rows.of("gradients/norm/policy")[0] > 0
    rows = train(ARS("LinearPolicy", "CartPole-v1", n_delta=1, seed=0), 50, LogGradients())
    assert not any("gradients" in key for row in rows.rows for key in row)


def test_sb3s_own_outputs_take_it(tmp_path):
    """Tables with long keys, CSV and JSON with arrays: they would fail, or spoil the file."""
    model = make_model(SAC, make_env(tmp_path, SAC, monitor=True), policy_kwargs={"net_arch": [4, 4]})
    model.set_logger(configure(str(tmp_path / "log"), ["log", "csv", "json"]))
    model.learn(40, callback=LogGradients(every_n_timesteps=10), log_interval=1)
    model.logger.close()
    lines = (tmp_path / "log" / "progress.csv").read_text().splitlines()
    assert "gradients/norm/critic" in lines[0] and "histogram" not in lines[0]
    assert {line.count(",") for line in lines} == {lines[0].count(",")}
    assert "norm/critic " in (tmp_path / "log" / "log.txt").read_text()


def test_the_hooks_go_with_it(tmp_path):
    model = make_model(PPO, make_env(tmp_path))
    model.learn(32, callback=LogGradients(every_n_timesteps=16))
    assert not model.policy.optimizer._optimizer_step_pre_hooks


def test_training_is_not_changed(tmp_path):
    weights = []
    for callback in (None, LogGradients(every_n_timesteps=1)):
        model = make_model(SAC, make_env(tmp_path, SAC))
        model.env.seed(0)
        model.learn(12, callback=callback)
        weights.append(torch.cat([p.detach().flatten() for p in model.policy.parameters()]))
    assert torch.equal(*weights)


def test_it_must_hear_of_rollouts(tmp_path):
    with pytest.raises(ValueError, match="LogGradients must see every step of training: .* not to EveryNTimesteps"):
        make_model(PPO, make_env(tmp_path)).learn(16, callback=EveryNTimesteps(4, LogGradients()))
    with pytest.raises(ValueError, match="every_n_timesteps must be an integer of at least 1, got 0"):
        LogGradients(every_n_timesteps=0)
