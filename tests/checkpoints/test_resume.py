"""A run that was killed goes on in another process as if nothing had happened, to the last bit."""

import signal
import subprocess
import sys

import pytest

from tests.checkpoints.runs import CASES, Record, SaveAt, assert_equal, everything, resume, train

STEPS = 140


def first_halves(directory, steps, names):
    """Train in another process, which is killed; where each case was saved."""
    command = [sys.executable, "-m", "tests.checkpoints.runs", str(directory), str(steps), *names]
    killed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    return {name: int(step) for name, step in (line.rsplit(" ", 1) for line in killed.stdout.splitlines())}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    directory = tmp_path_factory.mktemp("first halves")
    return directory, first_halves(directory, STEPS, CASES)


def assert_goes_on(case, path, steps, since):
    whole, record = train(case, steps, SaveAt(), recorded := Record()), recorded
    expected = everything(whole)
    resumed = resume(case, path, SaveAt(), recorded := Record())
    assert_equal(everything(resumed), expected)
    assert_equal(recorded.since(since), record.since(since))
    assert record.since(since)["rows"] or record.since(since)["episodes"]


@pytest.mark.parametrize("name", CASES)
def test_a_killed_run_goes_on_to_the_last_bit(name, saved):
    directory, saved_at = saved
    assert_goes_on(CASES[name], directory / name, STEPS, saved_at[name])
