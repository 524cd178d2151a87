"""A script of a user's own: trials that fail go on to the last bit, and a population perturbs running models."""

import json
import random
from pathlib import Path

import numpy as np
import pytest

ray = pytest.importorskip("ray")
from ray import tune  # noqa: E402
from ray.tune.schedulers import PopulationBasedTraining  # noqa: E402
from stable_baselines3 import PPO  # noqa: E402
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback  # noqa: E402

from tests.checkpoints.runs import assert_equal  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own warnings


@pytest.fixture(scope="module", autouse=True)
def local_ray():
    """Ray on the loopback address with two CPUs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
        ray.init(
            address="local", num_cpus=2, _node_ip_address="127.0.0.1", include_dashboard=False, log_to_driver=False
        )
        yield
        ray.shutdown()


class FailOnce(BaseCallback):
    """Fails in mid-rollout, unless it has before."""

    def __init__(self, mark):
        super().__init__()
        self.mark = mark

    def _on_step(self):
        if self.mark is not None and self.num_timesteps == 250 and not Path(self.mark).exists():
            Path(self.mark).touch()
            raise RuntimeError("the node is lost")
        return True


def make(learning_rate=1e-3, gamma=0.99):
    settings = {"n_steps": 50, "batch_size": 50, "n_epochs": 2, "policy_kwargs": {"net_arch": [8]}}
    return PPO("MlpPolicy", "CartPole-v1", seed=3, device="cpu", learning_rate=learning_rate, gamma=gamma, **settings)


def trial(config):
    from velora_sb3.tune import TuneReport, learn

    random.seed(0), np.random.seed(0)
    evaluation = EvalCallback(make().get_env(), eval_freq=100, n_eval_episodes=2, verbose=0)
    callbacks = [evaluation, TuneReport(), FailOnce(config.get("mark"))]
    model = learn(make(config["learning_rate"], config.get("gamma", 0.99)), config["steps"], callbacks)
    model.save(Path(config["out"]) / tune.get_context().get_trial_id())
    used = {"learning_rate": float(model.lr_schedule(1)), "gamma": model.rollout_buffer.gamma}
    Path(config["out"], f"{tune.get_context().get_trial_id()}.json").write_text(json.dumps(used))


def fit(directory, space, failures=0, **config):
    directory.mkdir()
    return tune.Tuner(
        trial,
        param_space={"out": str(directory), "steps": 500, **space},
        tune_config=tune.TuneConfig(metric="eval/mean_reward", mode="max", reuse_actors=True, **config),
        run_config=tune.RunConfig(
            storage_path=str(directory),
            name="ray",
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=failures),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=3),
        ),
    ).fit()


def test_a_trial_that_fails_goes_on_from_its_last_evaluation_to_the_last_bit(tmp_path):
    space = {"learning_rate": 1e-3, "mark": tune.grid_search([str(tmp_path / "failed"), None])}
    results = fit(tmp_path / "out", space, failures=1)
    assert (tmp_path / "failed").exists()
    assert [result.metrics["timesteps"] for result in results] == [500, 500]
    assert all("train/loss" in result.metrics for result in results)
    one, other = (PPO.load(path, device="cpu") for path in (tmp_path / "out").glob("*.zip"))
    assert_equal(one.get_parameters(), other.get_parameters())
    assert results[0].metrics["eval/mean_reward"] == results[1].metrics["eval/mean_reward"]


@pytest.mark.slow  # which of two trials is cloned last, and when, is up to Ray
def test_a_population_perturbs_running_models(tmp_path):
    scheduler = PopulationBasedTraining(
        time_attr="timesteps",
        perturbation_interval=100,
        quantile_fraction=0.5,
        resample_probability=0,
        hyperparam_mutations={"learning_rate": tune.uniform(0, 1), "gamma": [0.9, 0.95]},
        perturbation_factors=(2.0, 2.0),
    )
    space = {"learning_rate": tune.grid_search([1e-4, 1e-3]), "gamma": 0.9}
    results = fit(tmp_path / "out", space, scheduler=scheduler)
    assert not results.errors
    used = [json.loads(path.read_text()) for path in (tmp_path / "out").glob("*.json")]
    assert len(used) == 2
    assert {one["learning_rate"] for one in used} == {1e-3, 2e-3}  # the better one's rate, and that rate perturbed
    assert {one["gamma"] for one in used} <= {0.9, 0.95}


def test_values_of_another_model_are_not_reported():
    from velora_sb3.tune import TuneReport

    class Listed(TuneReport):
        sent = ()

        def _check_trial(self):
            """Outside of trials."""

        def _send(self, metrics, directory):
            self.sent = (*self.sent, metrics)

    class LogOnce(BaseCallback):
        def _on_step(self):
            if self.n_calls == 1:
                self.logger.record("mine/once", 1.0)
            return True

    report, once = Listed(every=100), LogOnce()
    for _ in range(2):
        evaluation = EvalCallback(make().get_env(), eval_freq=40, n_eval_episodes=1, verbose=0)
        make().learn(100, callback=[once, evaluation, report])
    assert ["mine/once" in metrics for metrics in report.sent] == [True, True, False, False]
