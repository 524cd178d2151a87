import json

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from velora_sb3 import save_checkpoint
from velora_sb3.callbacks import SaveCheckpoints
from velora_sb3.export import ObservationStatistics, OnnxPolicy


@pytest.fixture
def model():
    env = VecNormalize(make_vec_env("CartPole-v1", 1, seed=0))
    return PPO("MlpPolicy", env, n_steps=64, batch_size=64, seed=3, device="cpu")


def acts_as(folder, model):
    policy, normalize = OnnxPolicy(folder), model.get_vec_normalize_env().normalize_obs
    space = gym.make("CartPole-v1").observation_space
    observations = np.random.default_rng(0).normal(size=(50, *space.shape)).astype(np.float32)
    np.testing.assert_array_equal(
        policy.predict(observations), model.predict(normalize(observations), deterministic=True)[0]
    )


@pytest.mark.parametrize("options", [[], ["--best"]])
def test_a_run_directory(options, trained, run, tmp_path):
    code, out, err = run("export", trained, "--to", "onnx", "--out", "pilot", *options)
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "pilot: example.py, onnx_policy.py, parity.json, policy.json, policy.onnx"
    assert "compared with DDPG.predict(deterministic=True) over 1,000 steps of" in out
    assert json.loads((tmp_path / "pilot" / "policy.json").read_text())["algorithm"] == "DDPG"
    code, _, err = run("export", trained, "--to", "onnx", "--out", trained)
    assert code == 2
    assert "exists and is not an exported policy: choose another directory, or move it away" in err


@pytest.mark.parametrize("where", ["run", "run/saves/CartPole_final"])
def test_a_checkpoint_brings_its_statistics_and_opens_no_pickle(where, model, run, tmp_path, monkeypatch):
    model.learn(64, callback=SaveCheckpoints("run", frequency=5, root=tmp_path))
    monkeypatch.setattr("pickle.load", None)
    monkeypatch.setattr("stable_baselines3.common.base_class.load_from_zip_file", None)
    code, out, err = run("export", where, "--to", "onnx")
    assert (code, err) == (0, "")
    assert out.startswith(f"{where}/onnx: ")
    acts_as(tmp_path / where / "onnx", model)


def test_a_checkpoint_alone(model, run, tmp_path):
    save_checkpoint(model, tmp_path / "saved")
    assert run("export", "saved", "--to", "onnx", "--out", "pilot")[0] == 0
    acts_as(tmp_path / "pilot", model)


@pytest.mark.parametrize(
    "pickle", ["vec_normalize.pkl", "rl_model_vecnormalize_64_steps.pkl", "model/vecnormalize.pkl"]
)
def test_a_zip_with_pickled_statistics(pickle, model, run, tmp_path):
    model.save(tmp_path / "model.zip")
    (tmp_path / pickle).parent.mkdir(exist_ok=True)
    model.get_vec_normalize_env().save(tmp_path / pickle)
    call = ("export", "model.zip", "--algo", "ppo", "--to", "onnx")
    code, _, err = run(*call)
    assert code == 2
    assert f"{pickle} is a pickle, which can run arbitrary code" in err
    assert "ObservationStatistics.of(vec_normalize).save('normalization.json')" in err
    statistics = ObservationStatistics.of(model.get_vec_normalize_env())
    statistics.save(tmp_path / "elsewhere.json")
    assert run(*call, "--normalization", "elsewhere.json", "--out", "pilot")[0] == 0
    statistics.save(tmp_path / "normalization.json")
    assert run(*call)[0] == 0
    for folder in ("pilot", "onnx"):
        acts_as(tmp_path / folder, model)
    assert run(*call, "--normalization", "none", "--out", "raw")[0] == 0
    assert OnnxPolicy(tmp_path / "raw").contract["normalization"] is None


def test_a_zip_of_a_model_that_was_trained_under_normalization(model, run, tmp_path):
    model.learn(64).save(tmp_path / "model.zip")
    code, _, err = run("export", "model.zip", "--to", "onnx", "--algo", "ppo")
    assert code == 2
    assert "model.zip was trained under VecNormalize and does not contain its statistics: pass --normalization" in err
    code, _, err = run("export", "model.zip", "--to", "onnx", "--algo", "ppo", "--normalization", "none")
    assert (code, err) == (0, "")


def test_what_cannot_be_exported(trained, run, model, tmp_path, monkeypatch):
    (tmp_path / "text").write_text("text")
    for argv, message in (
        ((trained, "--to", "ada"), "unknown target 'ada': choose from"),
        ((trained,), "the following arguments are required: --to"),
        (("nowhere", "--to", "onnx"), "no such file or directory"),
        (("text", "--to", "onnx", "--algo", "ppo"), "is not a zip file"),
        ((tmp_path, "--to", "onnx"), "contains no model.zip"),
        ((trained, "--to", "onnx", "--normalization", "text"), "text holds no observation statistics"),
        ((trained, "--to", "onnx", "--normalization", "gone"), "gone: No such file or directory"),
        ((trained, "--to", "onnx", "--normalization", "."), ".: Is a directory"),
        ((trained, "--to", "onnx", "--out", "text/below"), "text is not a directory: choose another path"),
        ((trained, "--to", "onnx", "--gym-packages", "gone"), "--gym-packages gone: No module named 'gone'"),
    ):
        code, out, err = run("export", *argv)
        assert (code, out) == (2, "")
        assert message in err
        assert len(err.splitlines()) == 1
    model.save(tmp_path / "model.zip")
    assert "names the algorithm: pass --algo" in run("export", "model.zip", "--to", "onnx")[2]
    monkeypatch.setattr("velora_sb3._optional.find_spec", lambda name: None)
    code, _, err = run("export", trained, "--to", "onnx")
    assert code == 2
    assert 'needs onnx, onnxruntime: pip install "velora-sb3[onnx]"' in err


def test_c(trained, run, tmp_path):
    code, out, err = run("export", trained, "--to", "c", "--out", "pilot")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "pilot: example.c, parity.json, policy.c, policy.h, policy.json"
    assert lines[1].startswith("compared with DDPG.predict(deterministic=True) over 1,000 steps of")
    assert lines[2].startswith("weights: ")
    assert lines[3] == "state: 0 bytes"
