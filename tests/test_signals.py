import io
import os
import signal
import threading
import time

import pytest
import torch

from velora_sb3._signals import (
    SIGNALS,
    SignalHandlers,
    Stopped,
    on_signals,
    postponed_signals,
    raise_stopped,
    signal_of,
    unmasked_signals,
)


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


def test_a_worker_that_is_terminated_while_it_is_forked_dies():
    with on_signals(lambda _: None):
        for _ in range(20):
            child = os.fork()
            if child == 0:
                time.sleep(60)
                os._exit(0)
            os.kill(child, signal.SIGTERM)
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) == -signal.SIGTERM


def test_ctrl_c_within_torch_save_is_not_lost():
    class File:
        def write(self, data):
            os.kill(os.getpid(), signal.SIGINT)
            return len(data)

        def flush(self):
            self.flushed = True

    file = File()
    with pytest.raises(KeyboardInterrupt), postponed_signals():
        torch.save(torch.zeros(10), file)
    assert file.flushed


def test_other_threads_neither_postpone_nor_take_the_signal():
    inside, leave = threading.Event(), threading.Event()

    def work():
        with postponed_signals():
            inside.set()
            leave.wait()

    thread = threading.Thread(target=work)
    thread.start()
    inside.wait()
    with pytest.raises(Stopped), on_signals(raise_stopped):
        os.kill(os.getpid(), signal.SIGTERM)
    leave.set()
    thread.join()


def test_handlers_that_were_installed_in_between_stay():
    own = [signal.getsignal(signal.SIGTERM)]
    with on_signals(raise_stopped):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert signal.signal(signal.SIGTERM, own[0]) is signal.SIG_IGN


def test_the_order_in_which_handlers_are_uninstalled_does_not_matter():
    before = [signal.getsignal(signum) for signum in SIGNALS]
    outer, inner = SignalHandlers(raise_stopped), SignalHandlers(raise_stopped)
    outer.install()
    inner.install()
    outer.uninstall()
    inner.uninstall()
    assert [signal.getsignal(signum) for signum in SIGNALS] == before


class Interrupted(io.BytesIO):
    """A file in whose second write Ctrl-C arrives."""

    error = KeyboardInterrupt()

    def write(self, data):
        if self.tell() > 0:
            raise self.error
        return super().write(data)


def test_an_interruption_that_became_an_error_is_raised():
    with pytest.raises(RuntimeError, match="unexpected pos"):  # what torch makes of it
        torch.save(torch.zeros(10), Interrupted())
    with pytest.raises(KeyboardInterrupt), unmasked_signals():
        torch.save(torch.zeros(10), Interrupted())


@pytest.mark.parametrize(("error", "raised"), [(SystemExit(128 + 15), SystemExit), (SystemExit(2), ValueError)])
def test_an_exit_that_no_signal_asked_for_may_become_an_error(error, raised):
    def fail():
        try:
            raise error
        except SystemExit as exit_:
            raise ValueError("wrong arguments") from exit_

    with pytest.raises(raised), unmasked_signals():
        fail()


def test_an_interruption_that_is_handled_already_is_not_raised_again():
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        with pytest.raises(ZeroDivisionError), unmasked_signals():
            1 / 0  # noqa: B018
