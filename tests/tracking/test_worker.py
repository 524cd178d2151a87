import subprocess
import sys
import time
from pathlib import Path

import pytest

import velora_sb3
from tests.tracking.servers import answering, hanging, refusing
from velora_sb3.tracking.worker import SilentServerError, answers, check_answers
from velora_sb3.tracking.worker_process import PROGRAM


@pytest.mark.parametrize("status", [200, 401, 404, 500])
def test_an_error_is_an_answer(status):
    with answering(status) as server:
        assert answers(server.url)
        check_answers(server.url)


def test_a_server_that_is_not_there_does_not_answer():
    with refusing() as url:
        assert not answers(url)
        with pytest.raises(SilentServerError, match=f"{url} does not answer"):
            check_answers(url)


def test_a_server_that_keeps_silent_does_not_answer():
    with hanging() as url:
        started = time.monotonic()
        assert not answers(url, limit_s=0.2)
        assert time.monotonic() - started < 2


def test_the_process_imports_neither_torch_nor_sb3():
    look = (
        "import velora_sb3.tracking.comet_run, velora_sb3.tracking.wandb_run, sys; "
        "print(main.__module__, [name for name in ('torch', 'stable_baselines3') if name in sys.modules])\n"
    )
    program = PROGRAM.replace("main()\n", look)
    package = str(Path(velora_sb3.__file__).parent)
    result = subprocess.run([sys.executable, "-c", program, package], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "velora_sb3.tracking.worker []"
