"""Settings that every test shares."""

import os
import signal
import sys

import pytest
import torch

os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # Ray stays on the loopback address
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  Ray's workers would wait for whatever else the machine does

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a shell's background jobs inherit that, and tests press Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):  # nohup ignores it
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def one_thread_and_one_seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def callbacks_end_with_their_test():
    """What a test left running ends here, as its files are still there, and not when pytest exits."""
    yield
    if running := sys.modules.get("velora_sb3.callbacks.base.running"):
        running.end_all()


@pytest.fixture
def float64():
    """Equivalences are proved in float64."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
