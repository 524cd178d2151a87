import os
import subprocess
import sys

import pytest

from velora_sb3 import __version__
from velora_sb3.cli import main


def in_a_process(*command, cwd):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, *command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("command", [[], ["train"], ["evaluate"], ["plot"], ["report"], ["algos"], ["doctor"]])
def test_help_of_every_command(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert stop.value.code == 0
    assert "usage: velora-sb3" in capsys.readouterr().out


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"velora-sb3 {__version__}\n"


@pytest.mark.parametrize("argv", [[], ["tran"], ["train", "--stps", "3"], ["evaluate"], ["train", "--steps", "0"]])
def test_mistakes_are_one_line_and_exit_code_2(argv, run):
    code, out, err = run(*argv)
    assert code == 2
    assert out == ""
    assert err.startswith("velora-sb3: error: ")
    assert err.count("\n") == 1


def test_a_process_ends_with_one_line_and_no_traceback(tmp_path):
    result = in_a_process("-m", "velora_sb3", "train", "--algo", "ddgp", "--env", "Pendulum-v1", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("velora-sb3: error: unknown algorithm 'ddgp': did you mean 'ddpg'?")
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_importing_the_command_line_leaves_the_heavy_parts_out(tmp_path):
    code = """
import sys
import velora_sb3
loaded = {"matplotlib", "moviepy", "imageio_ffmpeg", "pygame", "yaml"} & set(sys.modules)
assert not loaded, loaded
import velora_sb3.cli
loaded = {"matplotlib", "moviepy", "imageio_ffmpeg", "pygame", "yaml"} & set(sys.modules)
assert not loaded, loaded
"""
    result = in_a_process("-c", code, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
