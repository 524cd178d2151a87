import json

import numpy as np
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecNormalize

from tests.hub.conftest import hub, offline  # noqa: F401
from velora_sb3 import save_checkpoint
from velora_sb3.callbacks import SaveCheckpoints
from velora_sb3.cli.experiment.directory import read_result


def test_a_run_there_and_back(trained, hub, run, tmp_path):  # noqa: F811
    options = ("--no-video", "--episodes", "2", "--private", "--message", "First", "--dir", "here")
    code, out, _ = run("push", trained, "user/pendulum", *options)
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith("here: README.md, config.json, manifest.json, ")
    assert lines[1].startswith(f"{hub.url}/user/pendulum/commit/")
    assert hub.repos["user/pendulum"].private
    assert hub.repos["user/pendulum"].messages[-1] == "First"
    results = json.loads((tmp_path / "here" / "results.json").read_text())
    assert results["returns"] == pytest.approx(read_result(trained)["returns"][:2])
    state = json.loads((tmp_path / "here" / "state.json").read_text())
    assert state["arguments"]["buffer_size"] > 1

    code, out, _ = run("pull", "user/pendulum", "--dir", "there")
    assert code == 0
    assert out.splitlines()[1:] == [
        "evaluate it: velora-sb3 evaluate there",
        "load it in Python: velora_sb3.load_checkpoint('there')",
    ]
    _, expected, _ = run("evaluate", trained, "--episodes", "3")
    code, out, err = run("evaluate", "there", "--episodes", "3", "--seed", "2007")
    assert (code, err) == (0, "")
    assert ", there of step" in out
    assert out.splitlines()[1:] == [line for line in expected.splitlines()[1:] if "best_model" not in line]
    code, out, _ = run("push", "there", "user/again", "--episodes", "0", "--no-video")
    assert (code, out.splitlines()[0].partition(":")[0]) == (0, "there/hub")


def test_a_checkpoint_brings_its_statistics(hub, run, tmp_path):  # noqa: F811
    env = VecNormalize(make_vec_env("CartPole-v1", 1, seed=0))
    model = PPO("MlpPolicy", env, n_steps=32, batch_size=32, device="cpu").learn(32)
    save_checkpoint(model, tmp_path / "saved")
    code, _, _ = run("push", "saved", "user/cart", "--env", "CartPole-v1", "--no-video", "--episodes", "1")
    assert code == 0
    assert "VecNormalize" in (tmp_path / "saved" / "hub" / "state.json").read_text()
    env.training = env.norm_reward = False
    env.seed(5)
    returns, _ = evaluate_policy(model, env, n_eval_episodes=3, return_episode_rewards=True)
    code, out, _ = run("evaluate", "saved/hub", "--episodes", "3", "--seed", "5")
    assert code == 0
    assert f"{np.mean(returns):,.1f} ± {np.std(returns):,.1f} (3 episodes)" in out


def test_a_run_with_a_cell_of_the_user_s_own(hub, run, tmp_path):  # noqa: F811
    cell = {"cell": "tests.cli.test_saved_model:OwnCell", "units": 4}
    model = PPO("LiquidPolicy", "CartPole-v1", n_steps=32, batch_size=32, policy_kwargs=cell, device="cpu")
    model.learn(32, callback=SaveCheckpoints("run", root=tmp_path))
    code, out, _ = run("push", "run", "user/cart", "--no-video", "--episodes", "0")
    assert (code, out.partition(":")[0]) == (0, "run/hub")


def test_errors_in_one_line(trained, run, offline, tmp_path, monkeypatch):  # noqa: F811
    (tmp_path / "text").write_text("text")
    for argv, message in (
        (("push", trained, "pendulum"), "repo_id must be 'user/name'"),
        (("push", "nowhere", "user/x"), "no such file or directory"),
        (
            ("push", trained, "user/x", "--no-video", "--episodes", "0", "--dir", "here"),
            "no token of the Hub: pass token=, set HF_TOKEN, or log in with `hf auth login`; the folder to upload is "
            "here",
        ),
        (("push", trained, "user/x", "--dir", "text/below"), "text is not a directory: choose another path"),
        (("pull", "user/x", "--dir", "text/below"), "text is not a directory: choose another path"),
        (("pull", "x"), "repo_id must be 'user/name'"),
        (("pull", "user/x"), "cannot load user/x: http://127.0.0.1:9 cannot be reached"),
    ):
        code, _, err = run(*argv)
        assert code == 2
        assert message in err
        assert len(err.splitlines()) == 1
    assert (tmp_path / "here" / "README.md").is_file()
    monkeypatch.setattr("velora_sb3._optional.find_spec", lambda name: None)
    assert 'needs huggingface_hub: pip install "velora-sb3[hub]"' in run("push", trained, "user/x")[2]
