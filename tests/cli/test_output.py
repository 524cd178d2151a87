import io
import subprocess
import sys

import pytest

from velora_sb3.cli.output import ForgivingStream


class Broken(io.StringIO):
    """A stream whose reader is gone."""

    def write(self, text):
        raise BrokenPipeError

    def flush(self):
        raise BrokenPipeError


def test_a_working_stream_gets_everything():
    stream = io.StringIO()
    forgiving = ForgivingStream(stream)
    print("hello", file=forgiving, flush=True)
    assert stream.getvalue() == "hello\n"


def test_what_the_locale_does_not_know_is_replaced():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    print("115.7 ± 19.2", file=ForgivingStream(stream), flush=True)
    assert stream.buffer.getvalue() == b"115.7 ? 19.2\n"


@pytest.mark.parametrize("stream", [Broken(), None])
def test_a_broken_or_closed_one_is_written_to_no_more(stream):
    forgiving = ForgivingStream(stream)
    for _ in range(2):
        print("hello", file=forgiving, flush=True)
    assert not forgiving.isatty()


def test_training_goes_on_when_nobody_reads_what_it_prints(tmp_path):
    command = f"{sys.executable} -m velora_sb3 train --algo ppo --env CartPole-v1 --steps 300 --no-video | true"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    files = {path.name for path in (tmp_path / "runs" / "ppo-CartPole-v1-1").iterdir()}
    assert {"model.zip", "learning_curve.png", "evaluations.csv"} <= files
