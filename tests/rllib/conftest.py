"""Ray on the loopback address, once for all tests of RLlib; without the extra they are skipped."""

import pytest

from velora_sb3._optional import missing_modules

if missing_modules("rllib"):
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def ray_here():
    import ray

    ray.init(
        num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False, logging_level="ERROR"
    )
    yield
    ray.shutdown()
