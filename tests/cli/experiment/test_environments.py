import sys

import gymnasium as gym
import pytest

from velora_sb3.cli import main
from velora_sb3.cli.errors import UserError
from velora_sb3.cli.experiment.environments import import_packages, open_env, open_vec_env, renders_frames


def test_opening():
    env = open_env("Pendulum-v1")
    assert renders_frames(env)
    env.close()
    vec_env = open_vec_env("Pendulum-v1", 3, seed=0)
    assert vec_env.num_envs == 3
    assert vec_env.get_attr("render_mode") == [None] * 3
    vec_env.close()


@pytest.mark.parametrize(
    ("env_id", "said"),
    [
        ("Pendulm-v1", "unknown env 'Pendulm-v1': did you mean 'Pendulum-v1'"),
        ("CartPole-v9", "did you mean 'CartPole-v1'"),
        ("qqqqqqqq", "unknown env 'qqqqqqqq'"),
        ("nope-v0", "unknown env 'nope-v0': Environment `nope` doesn't exist. \\(use --gym-packages"),  # not Hopper
        ("MountainCarContinous", "did you mean 'MountainCarContinuous-v0'"),
        ("nowhere:Env-v0", "cannot be imported: No module named 'nowhere'"),
    ],
)
def test_mistakes(env_id, said):
    with pytest.raises(UserError, match=said):
        open_env(env_id)


def test_a_missing_dependency_is_named(monkeypatch):
    def refuse(*args, **kwargs):
        raise gym.error.DependencyNotInstalled("MuJoCo is not installed")

    monkeypatch.setattr(gym, "make", refuse)
    with pytest.raises(UserError, match="needs a package that is not installed: MuJoCo"):
        open_env("HalfCheetah-v5")


def test_packages_that_register_envs(tmp_path, monkeypatch):
    code = "import gymnasium\ngymnasium.register('VeloraPackaged-v0', 'gymnasium.envs.classic_control:PendulumEnv')\n"
    (tmp_path / "velora_packaged.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    import_packages(["velora_packaged"])
    open_env("VeloraPackaged-v0").close()
    del gym.registry["VeloraPackaged-v0"]
    with pytest.raises(UserError, match="--gym-packages nowhere: No module named 'nowhere'"):
        import_packages(["nowhere"])


def test_a_console_script_finds_packages_in_the_working_directory(tmp_path, monkeypatch, capsys):
    (tmp_path / "velora_here.py").write_text("import gymnasium as gym\ngym.register('VeloraHere-v0', lambda: None)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", ".")])
    assert main(["train", "--algo", "ppo", "--env", "nope-v0", "--gym-packages", "velora_here", "velora_there"]) == 2
    assert gym.registry.pop("VeloraHere-v0")
    told = capsys.readouterr().err
    assert f"No module named 'velora_there'; it is neither installed nor in {tmp_path}" in told


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("velora_syntax", "def", "velora_syntax: SyntaxError"),
        ("velora_exits", "import sys; sys.exit(3)", "velora_exits: SystemExit: 3"),
        ("velora_fails", "1 / 0", "velora_fails: ZeroDivisionError: division by zero"),
    ],
)
def test_packages_that_fail_are_told_in_one_line(name, code, message, tmp_path, monkeypatch):
    (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=f"--gym-packages {message}"):
        import_packages([name])


@pytest.mark.parametrize("name", ["", "./mine.py", ".mine", 3])
def test_packages_that_are_no_names(name):
    with pytest.raises(UserError, match="--gym-packages takes module names such as my_envs"):
        import_packages([name])


def test_an_env_whose_constructor_fails_is_told_in_one_line():
    def broken(**_):
        raise ValueError("no such level")

    gym.register("VeloraBroken-v0", entry_point=broken)
    try:
        with pytest.raises(UserError, match="env 'VeloraBroken-v0' cannot be created: ValueError: no such level"):
            open_env("VeloraBroken-v0")
    finally:
        del gym.registry["VeloraBroken-v0"]
