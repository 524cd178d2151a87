import json
import shutil

import numpy as np
import pandas as pd
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecNormalize

from velora_sb3.callbacks import SaveCheckpoints
from velora_sb3.callbacks.hooks import eval_callback
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


def test_an_episode_that_does_not_end_is_named(trained, run, monkeypatch):
    monkeypatch.setattr(eval_callback, "LONG_EPISODE", 150)
    out = run("evaluate", trained, "--episodes", 2)[1]
    assert out.count("an episode of the evaluation has taken 150 steps") == 1
    assert "max_episode_steps" in out


def test_it_repeats_the_evaluation_at_the_end_of_training(trained, run):
    returns = json.loads((trained / "result.json").read_text())["returns"]
    code, out, _ = run("evaluate", trained)
    assert code == 0
    assert f"{np.mean(returns):,.1f} ± {np.std(returns):,.1f} (20 episodes)" in row(out, "return")
    assert "seed 2007" in out
    assert "model.zip of step 450" in out
    assert "best_model.zip had the best evaluation during training: --best" in out


def test_the_best_model(trained, run):
    evaluations = pd.read_csv(trained / "evaluations.csv")
    best = evaluations.loc[evaluations["mean_return"].idxmax(), "timesteps"]
    code, out, _ = run("evaluate", trained, "--best", "--episodes", 1)
    assert code == 0
    assert f"best_model.zip of step {best}" in out
    assert "--best" not in out


@pytest.mark.parametrize("where", ["run", "run/saves/CartPole_final"])
def test_a_directory_of_save_checkpoints(where, run, tmp_path):
    env = VecNormalize(make_vec_env("CartPole-v1", 1, seed=0))
    save = SaveCheckpoints("run", frequency=5, root=tmp_path)
    model = PPO("MlpPolicy", env, n_steps=64, batch_size=64, seed=3, device="cpu").learn(192, callback=save)
    code, out, err = run("evaluate", where, "--episodes", 3)
    assert (code, err) == (0, "")
    assert "ppo on CartPole-v1, deterministic, seed 2003, run/saves/CartPole_final/model.zip of step 192" in out
    other = VecNormalize(make_vec_env("CartPole-v1", 1, seed=2003), training=False, norm_reward=False)
    other.obs_rms = env.obs_rms
    mean, deviation = evaluate_policy(model, other, n_eval_episodes=3)
    assert f"{mean:,.1f} ± {deviation:,.1f} (3 episodes)" in row(out, "return")
    code, out, err = run("report", where, "--episodes", 3, "--out", "page.html")
    assert (code, err) == (0, "")
    page = (tmp_path / "page.html").read_text()
    assert "ppo on CartPole-v1" in page
    assert f"± {deviation:,.1f} over 3 episodes, seed 2003: run for this page" in page
    assert ", with target networks" not in page


def test_a_killed_run_names_its_checkpoints(trained, run, tmp_path):
    shutil.copytree(trained, tmp_path / "killed")
    (tmp_path / "killed" / "model.zip").unlink()
    code, _, err = run("evaluate", "killed")
    place = err.split("For its latest checkpoint, pass ")[1].strip()
    assert code == 2
    code, out, _ = run("evaluate", place, "--episodes", 1)
    assert code == 0
    assert "of step 450" in out


def test_its_zip(trained, run):
    from_directory = run("evaluate", trained, "--episodes", 2)[1]
    assert run("evaluate", trained / "model.zip", "--episodes", 2)[1] == from_directory


def test_a_bare_zip_needs_algorithm_and_env(trained, run, tmp_path):
    shutil.copy(trained / "model.zip", tmp_path / "bare.zip")
    code, _, err = run("evaluate", "bare.zip")
    assert code == 2
    assert "no config.json beside bare.zip names them: pass --algo and --env" in err
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
        (["nowhere"], "no such file or directory: "),
        (["."], " contains no model.zip"),
        ([".", "--best"], " contains no best_model.zip: the run was not evaluated"),
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
