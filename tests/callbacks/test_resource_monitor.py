import gc
import re
import time

import numpy as np
import psutil
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback, EveryNTimesteps

from tests.callbacks.runs import make_env, make_model
from velora_sb3.callbacks import ResourceMonitor

MB = 2**20


class Log(BaseCallback):
    """Notes what the logger holds after each step."""

    def _on_training_start(self):
        self.seen = []

    def _on_step(self):
        held = self.model.logger.name_to_value
        self.seen.append({name: value for name, value in held.items() if name.startswith("resources/")})
        held.clear()
        return True


def test_it_logs_what_the_system_says(tmp_path):
    class Work(BaseCallback):
        def _on_step(self):
            until = time.process_time() + 0.01  # what the system counts processor time in
            while time.process_time() < until:
                pass
            return True

    monitor, log = ResourceMonitor(20), Log()
    make_model(PPO, make_env(tmp_path, n_envs=2)).learn(64, callback=[Work(), monitor, log])
    measured = [row for row in log.seen if row]
    assert [number for number, row in enumerate(log.seen, 1) if row] == [1, 10, 20, 30]  # at the start, at 20, 40, 60
    assert set(measured[-1]) == {
        f"resources/{name}"
        for name in ("memory_mb", "children_mb", "cpu_percent", "system_memory_percent", "system_cpu_percent")
    }
    assert measured[-1]["resources/memory_mb"] == pytest.approx(psutil.Process().memory_info().rss / MB, rel=0.2)
    assert measured[-1]["resources/cpu_percent"] > 0
    assert 0 < measured[-1]["resources/system_memory_percent"] <= 100
    assert monitor.peak_mb >= max(row["resources/memory_mb"] for row in measured) - 0.1


def test_memory_that_is_taken_shows(tmp_path):
    class Take(BaseCallback):
        def _on_step(self):
            if self.n_calls == 5:
                self.held = np.ones(512 * MB, dtype=np.uint8)
            return True

    log = Log()
    gc.collect()  # what other tests have left
    make_model(PPO, make_env(tmp_path)).learn(16, callback=[Take(), ResourceMonitor(8), log])
    before, after = (log.seen[number]["resources/memory_mb"] for number in (0, 7))
    assert after - before == pytest.approx(512, abs=150)  # the process may give back what other tests have freed


def test_environments_in_other_processes_count(tmp_path):
    env = make_env(tmp_path, n_envs=2, subproc=True)
    log = Log()
    make_model(PPO, env).learn(32, callback=[ResourceMonitor(10), log])
    env.close()
    assert max(row.get("resources/children_mb", 0) for row in log.seen) > 5


def test_it_warns_once_at_each_limit(tmp_path):
    model = make_model(PPO, make_env(tmp_path))
    with pytest.warns(RuntimeWarning) as warned:
        model.learn(32, callback=ResourceMonitor(4, limit_mb=1.5, system_limit_percent=0.001))
    first, second = (str(warning.message) for warning in warned)
    assert re.fullmatch(
        r"ResourceMonitor: training uses [\d,]+ MiB of memory \(limit_mb=1.5\) at 0 timesteps; there will be no .*",
        first,
    )
    assert "% of the machine's memory is in use (system_limit_percent=0.001) at 0 timesteps" in second


def test_it_does_not_warn_below_the_limits(tmp_path):
    model = make_model(PPO, make_env(tmp_path))  # warnings are errors in tests
    model.learn(16, callback=ResourceMonitor(4, limit_mb=10**9, system_limit_percent=100))


def test_garbage_is_collected_before_it_warns(tmp_path):
    class Cycle:
        def __init__(self):
            self.itself, self.held = self, np.ones(512 * MB, dtype=np.uint8)

    class Litter(BaseCallback):
        def _on_step(self):
            if self.n_calls == 3:
                Cycle()
            return True

    gc.collect()  # what other tests have left
    before = ResourceMonitor(4)
    make_model(PPO, make_env(tmp_path)).learn(16, callback=before)
    limit = before.peak_mb + 400
    monitor = ResourceMonitor(4, limit_mb=limit)
    make_model(PPO, make_env(tmp_path)).learn(16, callback=[Litter(), monitor])
    assert monitor.peak_mb < limit


def test_in_an_event_it_measures_each_time(tmp_path, capsys):
    make_model(PPO, make_env(tmp_path)).learn(16, callback=EveryNTimesteps(5, ResourceMonitor(10**9, verbose=1)))
    measured = [line.rpartition(" at ")[2] for line in capsys.readouterr().out.splitlines() if "memory_mb" in line]
    assert measured[1:4] == ["5 timesteps", "10 timesteps", "15 timesteps"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"every_n_timesteps": 0}, "every_n_timesteps must be an integer of at least 1, got 0"),
        ({"limit_mb": 0}, "limit_mb must be a finite number above 0, got 0"),
        ({"limit_mb": "8 GB"}, "limit_mb must be a finite number above 0, got '8 GB'"),
        (
            {"system_limit_percent": 101},
            "system_limit_percent must be a finite number above 0 and at most 100, got 101",
        ),
    ],
)
def test_bad_arguments(arguments, said):
    with pytest.raises(ValueError, match=said):
        ResourceMonitor(**arguments)


def test_without_psutil(monkeypatch):
    monkeypatch.setattr("velora_sb3._optional.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'ResourceMonitor needs psutil: pip install "velora-sb3\[monitor\]"'):
        ResourceMonitor()
