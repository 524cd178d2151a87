"""A trial that loses its node goes on elsewhere, to the last bit."""

import threading
import time

import pytest

ray = pytest.importorskip("ray")
from ray.cluster_utils import Cluster  # noqa: E402
from stable_baselines3 import PPO  # noqa: E402

from tests.checkpoints.runs import assert_equal  # noqa: E402
from tests.tune.sweeps import QUIET, run, sweep_of, trained_alone  # noqa: E402

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]  # Ray's own warnings


@pytest.fixture
def cluster():
    """Two nodes of one CPU each, on this machine."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "node_ip_address": "127.0.0.1", **QUIET})
    second = cluster.add_node(num_cpus=1, node_ip_address="127.0.0.1")
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster, second
    ray.shutdown()
    cluster.shutdown()


def test_every_trial_of_a_lost_node_finishes_to_the_last_bit(cluster, tmp_path):
    cluster, second = cluster
    sweep, directory = sweep_of(steps=1200, trials=2, seeds=2), tmp_path / "sweep"
    killed = []

    def kill_when_both_have_evaluated():
        while len(list((directory / "ray").glob("*/checkpoint_000002"))) < 2:
            time.sleep(0.05)
        cluster.remove_node(second, allow_graceful=False)
        killed.append(not list(directory.glob("trials/*/*/result.json")))

    thread = threading.Thread(target=kill_when_both_have_evaluated, daemon=True)
    thread.start()
    results = run(sweep, directory)
    assert killed == [True]  # in mid-run
    trials = results.trials()
    assert [trial.status for trial in trials] == ["finished"] * 2
    for trial in trials:
        for seed in sweep.seeds:
            alone = trained_alone(sweep.config(trial.settings, seed), tmp_path)
            swept = PPO.load(directory / "trials" / trial.id / f"seed-{seed}" / "model.zip", device="cpu")
            assert_equal(swept.get_parameters(), alone.get_parameters())
