"""Settings that every test shares."""

import signal

import pytest
import torch

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a shell's background jobs inherit that, and tests press Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def one_thread_and_one_seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def float64():
    """Equivalences are proved in float64."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
