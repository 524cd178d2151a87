import time
import urllib.error
import urllib.request
from importlib.util import find_spec

import pytest

from velora_sb3.finrl import launch_tensorboard

here = find_spec("tensorboard") is not None


@pytest.mark.skipif(not here, reason="tensorboard is not installed; tox -e extras has it")
def test_it_answers(tmp_path, capsys, unused_port):
    process = launch_tensorboard(tmp_path, unused_port)
    address = f"http://localhost:{unused_port}"
    try:
        assert capsys.readouterr().out == f"TensorBoard: {address}\n"
        deadline = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(address, timeout=10) as answer:
                    assert answer.status == 200
                break
            except (urllib.error.URLError, ConnectionError):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.2)
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def unused_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


@pytest.mark.skipif(here, reason="tensorboard is here")
def test_it_must_be_installed(tmp_path):
    with pytest.raises(ImportError, match="pip install tensorboard"):
        launch_tensorboard(tmp_path)
