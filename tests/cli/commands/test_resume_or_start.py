"""One line for a job that is requeued: it starts a run, resumes it, or reports that it is finished."""

import os
import signal

import pytest
from stable_baselines3 import PPO

from tests.checkpoints.runs import assert_equal
from tests.cli.commands.test_resume import command, forked
from velora_sb3.cli.experiment.directory import write_result


def line(directory, *more):
    return command("ppo", directory, "--resume-or-start", *more)


@pytest.fixture(scope="module")
def parameters(tmp_path_factory):
    """The weights of the run in one piece."""
    directory = tmp_path_factory.mktemp("whole") / "run"
    assert forked(*command("ppo", directory)) == 0
    return PPO.load(directory / "model.zip", device="cpu").get_parameters()


def test_the_same_line_starts_resumes_and_reports_a_finished_run(run, tmp_path, parameters):
    assert forked(*line("r"), die_at=20) == -signal.SIGKILL  # before its first checkpoint, due after 50 steps
    assert not any((tmp_path / "r" / "checkpoints" / "saves").iterdir())
    assert forked(*line("r"), die_at=158) == -signal.SIGKILL
    code, out, err = run(*line("r"))
    assert (code, err) == (0, "")
    assert "resuming r at step " in out
    assert_equal(PPO.load(tmp_path / "r" / "model.zip", device="cpu").get_parameters(), parameters)
    before = {path: path.read_bytes() for path in (tmp_path / "r").rglob("*") if path.is_file()}
    assert run(*line("r")) == (0, "ppo on DyingCartPole-v0: finished, 320 steps -> r\n", "")
    assert before == {path: path.read_bytes() for path in (tmp_path / "r").rglob("*") if path.is_file()}


def killed_with_an_empty_directory(directory):
    directory.mkdir()


def killed_before_the_first_step(directory):
    assert forked(*line(directory), die_at=1) == -signal.SIGKILL


def killed_in_the_final_evaluation(directory):
    def die(*args):
        os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        from velora_sb3.cli import main
        from velora_sb3.cli.experiment import run

        run.evaluate_model = die
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os._exit(main(line(directory)))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize(
    "killed",
    [
        killed_with_an_empty_directory,
        killed_before_the_first_step,
        killed_in_the_final_evaluation,
    ],
)
def test_it_may_be_killed_at_any_moment(killed, run, tmp_path, parameters):
    killed(tmp_path / "r")
    code, _, err = run(*line("r"))
    assert (code, err) == (0, "")
    assert_equal(PPO.load(tmp_path / "r" / "model.zip", device="cpu").get_parameters(), parameters)
    assert (tmp_path / "r" / "result.json").exists()


def test_a_half_written_configuration_is_none(run, tmp_path):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / ".config.partial.json").write_text("{")
    assert run(*line("r", "--steps", "64"))[0] == 0


def test_a_drawn_seed_stays(run, tmp_path):
    small = ("--algo", "ppo", "--env", "CartPole-v1", "--policy", "MlpPolicy", "--no-video", "--eval-freq", "0")
    argv = ("train", *small, "--n-envs", "1", "--steps", "64", "--hyperparams", "{n_steps: 32, batch_size: 32}")
    for _ in range(2):
        code, _, err = run(*argv, "--run-dir", "r", "--resume-or-start")
        assert (code, err) == (0, "")
    (tmp_path / "r" / "result.json").unlink()
    assert run(*argv, "--run-dir", "r", "--resume-or-start")[0] == 0


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--steps", "640"), "the run in r has other settings: steps is 320 there, got 640. Use its settings, or"),
        (("--seed", "2"), "seed is 1 there, got 2"),
        (
            ("--policy-kwargs", "units: 8"),
            "policy_kwargs is {'units': 4, 'initialization': 'ncps'} there, got {'units': 8}",
        ),
        (("--checkpoint-every", "0"), "needs checkpoints to resume from: omit --checkpoint-every 0"),
    ],
)
def test_other_settings_are_one_line_and_change_nothing(more, told, run, tmp_path):
    directory = tmp_path / "r"
    directory.mkdir()
    assert forked(*line(directory), die_at=1) == -signal.SIGKILL
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    code, _, err = run(*line("r", *more))
    assert code == 2
    assert told in err and err.count("\n") == 1
    assert before == {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_a_directory_that_is_no_run_is_left_alone(run, tmp_path):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "thesis.txt").write_text("")
    code, _, err = run(*line("r"))
    assert (code, err.count("\n")) == (2, 1)
    assert "r contains files but no config.json: it is not a run; choose another --run-dir" in err


def test_a_directory_must_be_given(run):
    code, _, err = run("train", "--algo", "ppo", "--env", "CartPole-v1", "--resume-or-start")
    assert code == 2
    assert "--resume-or-start needs --run-dir" in err


def test_a_result_of_fewer_steps_is_not_the_end(run, tmp_path):
    assert run(*line("r", "--steps", "64"))[0] == 0
    assert run("resume", "r", "--steps", "640", "--device", "nope")[0] == 2  # nothing has changed
    code, out, _ = run(*line("r", "--steps", "64"))
    assert code == 0 and "finished" in out
    write_result(tmp_path / "r", {"steps": 64, "planned_steps": 32})
    code, out, _ = run(*line("r", "--steps", "64"))
    assert code == 0 and "resuming r at step 64 of 64" in out
