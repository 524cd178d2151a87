import os
import signal
import time

import pytest

from velora_sb3.cli.signals import SIGNALS, Stopped, on_signals, raise_stopped, signal_of


@pytest.mark.parametrize("signum", SIGNALS)
def test_every_signal_is_handled_and_the_handler_restored(signum):
    before, seen = signal.getsignal(signum), []
    with on_signals(seen.append):
        os.kill(os.getpid(), signum)
    assert seen == [signum]
    assert signal.getsignal(signum) is before


def test_it_ends_like_ctrl_c():
    with pytest.raises(KeyboardInterrupt, match="SIGTERM") as stop, on_signals(raise_stopped):
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal_of(stop.value) == signal.SIGTERM
    assert signal_of(KeyboardInterrupt()) == signal.SIGINT
    assert isinstance(stop.value, Stopped)


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup
    try:
        with on_signals(raise_stopped):
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_forked_worker_can_still_be_terminated():
    ready, tell = os.pipe()
    with on_signals(lambda _: None):
        child = os.fork()
        if child == 0:
            os.write(tell, b"!")  # Python drops a signal that arrives before it has finished forking
            time.sleep(60)
            os._exit(0)
        os.read(ready, 1)
        os.kill(child, signal.SIGTERM)
        _, status = os.waitpid(child, 0)
    os.close(ready)
    os.close(tell)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGTERM
