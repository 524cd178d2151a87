import os
import signal
import threading

import pytest

from velora_sb3.cli.experiment.interrupt import StopOnInterrupt


def ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


def test_the_first_one_waits_for_the_next_step():
    before = signal.getsignal(signal.SIGINT)
    with StopOnInterrupt() as stop:
        assert stop._on_step()
        ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            stop._on_step()
    assert signal.getsignal(signal.SIGINT) is before


def test_the_second_one_does_not_wait():
    with StopOnInterrupt():
        ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            ctrl_c()


def test_the_handler_is_given_back_after_an_error():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(RuntimeError), StopOnInterrupt():
        raise RuntimeError
    assert signal.getsignal(signal.SIGINT) is before


def test_other_threads_are_left_alone():
    seen = []

    def work():
        with StopOnInterrupt() as stop:
            seen.append(stop._on_step())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [True]
