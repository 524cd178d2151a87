"""A trial that loses its node resumes elsewhere, to the last bit; many trials leave nothing behind."""

import threading
import time
from pathlib import Path

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


def test_many_trials_leak_no_actors_files_or_memory(cluster, tmp_path):
    psutil = pytest.importorskip("psutil")
    used = []
    sweep, directory = sweep_of(steps=200, trials=200), tmp_path / "sweep"

    def watch():
        while not done.is_set():
            finished = len(list(directory.glob("trials/*/*/result.json")))
            me = psutil.Process()
            workers = [one for one in me.children(recursive=True) if " ".join(one.cmdline()).startswith("ray::")]
            used.append((finished, len(list(Path("/proc/self/fd").iterdir())), me.memory_info().rss, len(workers)))
            done.wait(1)

    done = threading.Event()
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    results = run(sweep, directory)
    done.set()
    thread.join()
    assert [trial.status for trial in results.trials()] == ["finished"] * 200
    early = next(one for one in used if one[0] >= 20)
    late = used[-1]
    print(f"finished, files, bytes, workers: {early} to {late}")
    assert late[0] >= 199
    assert late[1] <= early[1] + 20
    assert late[2] <= early[2] + 50e6
    assert late[3] <= early[3]  # actors are reused
