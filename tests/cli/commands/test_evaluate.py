import shutil

import pytest

from velora_sb3.cli import main


def row(out, name):
    return next(line for line in out.splitlines() if line.startswith(name))


def test_a_run_directory(trained, run):
    code, out, err = run("evaluate", trained, "--episodes", 3)
    assert (code, err) == (0, "")
    assert "(3 episodes)" in row(out, "return")
    assert "200.0 ± 0.0 steps" in row(out, "episode length")
    assert run("evaluate", trained, "--episodes", 3)[1] == out  # the seed decides
    assert row(run("evaluate", trained, "--episodes", 3, "--seed", 1)[1], "return") != row(out, "return")


def test_its_zip(trained, run):
    from_directory = run("evaluate", trained, "--episodes", 2)[1]
    assert run("evaluate", trained / "model.zip", "--episodes", 2)[1] == from_directory


def test_a_bare_zip_needs_algorithm_and_env(trained, run, tmp_path):
    shutil.copy(trained / "model.zip", tmp_path / "bare.zip")
    code, _, err = run("evaluate", "bare.zip")
    assert code == 2
    assert "no config.json beside bare.zip: pass --algo and --env" in err
    code, out, _ = run("evaluate", "bare.zip", "--algo", "ddpg", "--env", "Pendulum-v1", "--episodes", 1)
    assert code == 0
    assert "return" in out


def test_stochastic(trained, run):
    code, out, _ = run("evaluate", trained, "--episodes", 1, "--stochastic")
    assert code == 0
    assert "stochastic" in out


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["nowhere"], "no such file or directory: nowhere"),
        (["."], ". contains no model.zip"),
        (["text", "--algo", "ppo", "--env", "CartPole-v1"], "text is not a zip file"),
        (["RUN", "--env", "Pendulm-v1"], "did you mean 'Pendulum-v1'"),
        (["RUN", "--env", "CartPole-v1"], "the model does not fit CartPole-v1"),
        (["RUN", "--algo", "dpg"], "did you mean 'ddpg'"),
        (["RUN", "--algo", "ppo"], "cannot load"),
        (["RUN", "--episodes", "0"], "must be at least 1"),
        (["RUN", "--device", "nonsense"], "--device nonsense"),
    ],
)
def test_mistakes(argv, said, trained, run, tmp_path):
    (tmp_path / "text").write_text("no zip")
    code, out, err = run("evaluate", *(trained if word == "RUN" else word for word in argv))
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_a_model_with_masks_where_there_are_none(run):
    small = ("--steps", 32, "--no-video", "--eval-freq", 0, "--hyperparams", '{"n_steps": 32, "batch_size": 16}')
    assert (
        run("train", "--algo", "recurrent_maskable_ppo", "--env", "VeloraMasked-v0", *small, "--run-dir", "r")[0] == 0
    )
    code, out, err = run("evaluate", "r", "--env", "VeloraUnmasked-v0")
    assert (code, out) == (2, "")
    assert "needs an environment with a method action_masks(), and VeloraUnmasked-v0 has none" in err
    assert err.count("\n") == 1


def test_the_help_warns_of_pickles(capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    assert "only load models from people you trust" in " ".join(capsys.readouterr().out.split())
