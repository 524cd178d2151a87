"""SIGTERM and SIGHUP end a run as Ctrl-C does."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from tests.callbacks.runs import Listener
from tests.metrics.short_episodes import Do, ppo

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
SIGNALS = [signal.SIGTERM, signal.SIGHUP]


def send(number):
    return lambda: os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_callbacks_end_and_the_process_exits(number):
    with pytest.raises(SystemExit) as exits, Listener() as listener:
        ppo().learn(64, callback=[listener, Do(10, send(number))])
    assert exits.value.code == 128 + number
    assert listener.told_without_steps() == ["start", "end"]
    assert listener.interrupted
    assert [signal.getsignal(one) for one in SIGNALS] == [signal.SIG_DFL] * 2


def test_the_end_is_not_interrupted():
    class Slow(Listener):
        def _on_end(self):
            send(signal.SIGTERM)()
            super()._on_end()

    with pytest.raises(SystemExit), Slow() as listener:
        ppo().learn(64, callback=[listener, Do(10, send(signal.SIGTERM))])
    assert listener.told_without_steps() == ["start", "end"]


def test_signals_of_the_program_are_left_alone():
    seen = []
    before = [
        signal.signal(signal.SIGTERM, lambda *_: seen.append("own")),
        signal.signal(signal.SIGHUP, signal.SIG_IGN),
    ]
    try:
        ppo().learn(64, callback=[Listener(), Do(10, send(signal.SIGTERM)), Do(12, send(signal.SIGHUP))])
        assert seen == ["own"]
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        for number, handler in zip(SIGNALS, before, strict=True):
            signal.signal(number, handler)


def test_other_threads_install_nothing():
    seen = []
    thread = threading.Thread(
        target=lambda: ppo().learn(
            64, callback=[Listener(), Do(10, lambda: seen.append(signal.getsignal(signal.SIGTERM)))]
        )
    )
    thread.start()
    thread.join()
    assert seen == [signal.SIG_DFL]


def test_without_a_with_block_and_with_workers(tmp_path):
    program = """
        import os, signal, sys
        from stable_baselines3.common.callbacks import BaseCallback
        from tests.callbacks.runs import Listener, make_env, make_model
        from tests.metrics.short_episodes import Do, ppo
        import multiprocessing, time
        def fork():  # a worker that was forked in mid-run dies as usual
            context = multiprocessing.get_context("fork")
            started = context.Event()
            worker = context.Process(target=lambda: started.set() or time.sleep(60))
            worker.start()
            started.wait()
            worker.terminate()
            worker.join()
            print("worker", worker.exitcode, flush=True)
        class Told(Listener):
            def _on_end(self):
                print("end", self.interrupted, flush=True)
        ppo().learn(64, callback=[Told(), Told(), Do(5, fork), Do(10, lambda: os.kill(os.getpid(), signal.SIGTERM))])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    assert done.stdout.splitlines() == ["worker -15", "end True", "end True"]
    assert done.returncode == 128 + signal.SIGTERM


@pytest.mark.parametrize("with_block", [True, False])
def test_a_forked_process_does_not_end_the_callbacks_of_its_parent(with_block, tmp_path):
    program = """
        import os, sys
        from contextlib import nullcontext
        from tests.callbacks.runs import Listener
        from tests.metrics.short_episodes import Do, ppo
        class Told(Listener):
            def _on_end(self):
                print("end", self.num_timesteps, self.interrupted, flush=True)
        def fork():
            child = os.fork()
            if child == 0:
                sys.exit(0)
            os.waitpid(child, 0)
        told = Told()
        with told if WITH else nullcontext():
            ppo().learn(64, callback=[told, Do(10, fork)])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program).replace("WITH", str(with_block))],
        capture_output=True, text=True, cwd=ROOT, timeout=120,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["end 64 False"], done.stderr
