import os
import resource
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


@pytest.mark.parametrize("script", [True, False], ids=["velora-sb3", "python -m velora_sb3"])
@pytest.mark.parametrize("words", [["--help"], ["--version"], ["train", "-h"], ["benchmark", "suite", "--help"]])
def test_help_comes_quickly_and_without_torch(words, script, tmp_path):
    program = ["-m", "velora_sb3"]
    if script:
        (tmp_path / "velora-sb3").write_text("import sys\nfrom velora_sb3.cli import main\nsys.exit(main())\n")
        program = ["velora-sb3"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = in_a_process("-X", "importtime", *program, *words, cwd=tmp_path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert result.returncode == 0, result.stderr
    assert "velora-sb3" in result.stdout
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert "velora_sb3.cli.command_line" in imported
    assert not {"torch", "stable_baselines3", "gymnasium", "pandas", "rich"} & imported
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5  # seconds; 0.15 on an idle machine


@pytest.mark.parametrize("words", [["--help"], ["--version"]])
def test_the_help_of_another_program_registers_the_policy_as_ever(words, tmp_path):
    (tmp_path / "train.py").write_text("import velora_sb3, stable_baselines3 as sb3\nprint(sb3.PPO.policy_aliases)")
    assert "LiquidPolicy" in in_a_process("train.py", *words, cwd=tmp_path).stdout
    assert "LiquidPolicy" in in_a_process("-m", "train", *words, cwd=tmp_path).stdout


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


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["evaluate", "run", "--episods", "5"], "unrecognized arguments: --episods 5: did you mean '--episodes'?"),
        (["train", "--stps=3"], "did you mean '--steps'? (see velora-sb3 train --help)"),
        (["plot", "a.db", "b.db"], "unrecognized arguments: b.db (see velora-sb3 plot --help)"),
    ],
)
def test_an_unknown_option_suggests_a_similar_one(argv, said, run):
    code, _, err = run(*argv)
    assert code == 2
    assert said in err


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


LONG = "x" * 300


@pytest.mark.parametrize(
    "argv",
    [
        ["plot", LONG],
        ["evaluate", LONG],
        ["resume", LONG],
        ["report", LONG],
        ["export", LONG, "--to", "c"],
        ["push", LONG, "user/name"],
        ["train", "--config", f'{{"algo": "{LONG}"}}'],
        ["train", "--algo", "ppo", "--env", "CartPole-v1", "--run-dir", LONG, "--resume-or-start"],
    ],
)
def test_a_name_that_is_too_long_is_one_line(argv, run):
    code, out, err = run(*argv)
    assert (code, out) == (2, "")
    assert err.startswith("velora-sb3: error: ") and err.endswith("File name too long\n")
    assert err.count("\n") == 1


def test_an_error_of_the_system_is_one_line(monkeypatch, capsys):
    def fail(args):
        raise ConnectionResetError(104, "reset by peer")

    monkeypatch.setattr("velora_sb3.cli.commands.doctor.run", fail)
    assert main(["doctor"]) == 1
    assert capsys.readouterr().err == "velora-sb3: error: reset by peer\n"


def test_an_error_of_ours_without_a_number_is_one_line(monkeypatch, capsys):
    def fail(args):
        raise OSError("RecordMetrics cannot write to m.db: database is locked")

    monkeypatch.setattr("velora_sb3.cli.commands.doctor.run", fail)
    assert main(["doctor"]) == 1
    assert capsys.readouterr().err == "velora-sb3: error: RecordMetrics cannot write to m.db: database is locked\n"
