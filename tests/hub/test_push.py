import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import yaml
from stable_baselines3 import DDPG, PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import configure
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.vec_env import VecNormalize

from tests.hub.server import TOKEN
from velora_sb3 import RecurrentPPO, StatefulPredictor, load_checkpoint, save_checkpoint
from velora_sb3.checkpoints import CheckpointError
from velora_sb3.export import OnnxPolicy
from velora_sb3.hub import HubError, load_from_hub, push_to_hub

BUNDLE = {
    "manifest.json", "optimizers.safetensors", "policy.safetensors", "state.json", "state.safetensors",
    "README.md", "config.json",
}  # fmt: skip
SMALL = {"policy_kwargs": {"units": 4}, "n_steps": 16, "batch_size": 16, "device": "cpu", "seed": 0}


def ppo(env="CartPole-v1", **settings):
    return PPO("MlpPolicy", env, n_steps=16, batch_size=16, n_epochs=1, device="cpu", seed=0, **settings)


class SecretEnv(gym.Wrapper):
    """An environment that knows something that must not leave the machine."""

    def __init__(self, env):
        super().__init__(env)
        self.api_key = "sk-secret"


def test_a_recurrent_model_with_everything(hub):
    model = RecurrentPPO("LiquidPolicy", "CartPole-v1", **SMALL).learn(32)
    env = gym.make("CartPole-v1", render_mode="rgb_array")
    url = push_to_hub(model, "user/cart", eval_env=env, n_eval_episodes=2, seed=5, onnx=True, private=True)
    repo = hub.repos["user/cart"]
    assert repo.private
    (commit,) = [number for number in repo.commits if url.endswith(number)]
    files = repo.commits[commit]
    exported = {"policy.onnx", "policy.json", "onnx_policy.py", "example.py", "parity.json"}
    assert set(files) == BUNDLE | {".gitattributes", "results.json", "replay.mp4"} | {f"onnx/{n}" for n in exported}
    assert repo.messages == ["initial commit", "Push a model with velora-sb3"]
    assert ("POST", "/user/cart.git/info/lfs/objects/batch") in hub.requests  # tensors and video go to LFS
    assert files["replay.mp4"][4:8] == b"ftyp"

    results = json.loads(files["results.json"])
    assert (len(results["returns"]), results["seed"]) == (2, 5)
    assert results["mean_reward"] == np.mean(results["returns"])
    _, head, text = files["README.md"].decode().split("---\n", 2)
    card = yaml.safe_load(head)
    assert card["library_name"] == "stable-baselines3"
    assert card["tags"] == [
        "reinforcement-learning", "deep-reinforcement-learning", "stable-baselines3", "velora-sb3", "RecurrentPPO",
        "CartPole-v1", "liquid-neural-network", "CfC",
    ]  # fmt: skip
    (entry,) = card["model-index"][0]["results"]
    assert entry["dataset"] == {"name": "CartPole-v1", "type": "CartPole-v1"}
    reached = f"{results['mean_reward']:.2f} +/- {results['std_reward']:.2f}"
    assert entry["metrics"] == [{"type": "mean_reward", "value": reached, "name": "mean_reward", "verified": False}]
    assert 'load_from_hub("user/cart")' in text
    assert json.loads(files["config.json"])["policy"]["name"] == "LiquidPolicy"

    other = load_from_hub("user/cart")
    ours, theirs = StatefulPredictor(model), StatefulPredictor(other)
    onnx = OnnxPolicy(Path("hub/user/cart/onnx"))
    for observation in np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32):
        action = ours.predict(observation, deterministic=True)[0]
        assert action == theirs.predict(observation, deterministic=True)[0] == onnx.predict(observation)
    env.close()


def test_nothing_of_the_machine_or_the_run_is_pushed(hub, monkeypatch):
    venv = make_vec_env(lambda: SecretEnv(gym.make("CartPole-v1")), 1, monitor_dir="monitored-runs")
    model = ppo(venv, tensorboard_log="private-logs")
    model.set_logger(configure("logger-folder", ["csv"]))
    model.learn(16)
    push_to_hub(model, "user/secret", video=False)
    model.logger.close()
    venv.close()
    contents = b"".join(path.read_bytes() for path in Path("hub").rglob("*") if path.is_file())
    for secret in (TOKEN, "sk-secret", "private-logs", "logger-folder", "monitored-runs", str(Path.cwd())):
        assert secret.encode() not in contents


def test_a_new_commit_removes_what_the_model_no_longer_has(hub):
    repo = hub.add("user/cart", {"LICENSE": b"MIT", "replay.mp4": b"old", "onnx/policy.onnx": b"old"})
    url = push_to_hub(ppo(), "user/cart", video=False, commit_message="Second")
    assert set(repo.commits[repo.branches["main"]]) == {"LICENSE"} | BUNDLE
    assert repo.messages == ["initial commit", "Second"]
    assert push_to_hub(ppo(), "user/cart", video=False, revision="trial") != url
    assert set(repo.branches) == {"main", "trial"}
    assert url.endswith(repo.branches["main"])


def test_a_public_repository_is_not_taken_for_a_private_one(hub):
    hub.add("user/cart", {})
    with pytest.raises(HubError, match="user/cart exists and is public: .* the folder to upload is hub/user/cart"):
        push_to_hub(ppo(), "user/cart", video=False, private=True)
    assert len(hub.repos["user/cart"].commits) == 1


@pytest.mark.parametrize("name", ["cart", "a/b/c", "user/", "user/a--b", "user/a b", "user/x.git", ".a/b", None])
def test_names_are_checked_first(name, offline):
    with pytest.raises(ValueError, match="repo_id must be 'user/name'"):
        push_to_hub(None, name)
    assert list(Path.cwd().iterdir()) == []


def test_a_name_of_other_than_two_parts(offline):
    with pytest.raises(ValueError, match="two parts, got 'hub/user/name' with 3: leave out a host, a folder or a file"):
        push_to_hub(None, "hub/user/name")
    with pytest.raises(ValueError, match="two parts, got 'name' with 1: put the user or organization in front"):
        push_to_hub(None, "name")


def test_without_token_or_network_the_folder_stays(offline, monkeypatch):
    with pytest.raises(HubError, match=r"no token of the Hub: pass token=.*; the folder to upload is hub/user/cart$"):
        push_to_hub(ppo(), "user/cart", video=False)
    with pytest.raises(HubError, match=r"http://127.0.0.1:9 cannot be reached .*; the folder to upload is here$"):
        push_to_hub(ppo(), "user/cart", video=False, token=TOKEN, directory="here")
    for folder in ("hub/user/cart", "here"):
        assert {path.name for path in Path(folder).iterdir()} == BUNDLE
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("name", "token", "message"),
    [
        ("user/cart", "hf_wrong", r"refuses the token \(401\): pass token="),
        ("somebody/cart", TOKEN, r"refuses the token \(403\): .* that may write there"),
    ],
)
def test_a_token_that_is_refused(name, token, message, hub):
    with pytest.raises(HubError, match=message) as caught:
        push_to_hub(ppo(), name, video=False, token=token)
    assert token not in str(caught.value)


@pytest.mark.parametrize("apart", [False, True])
def test_a_model_evaluates_under_its_own_normalization(apart, hub, monkeypatch):
    def normalized(n_envs, **arguments):
        env = make_vec_env("CartPole-v1", n_envs, **arguments)
        return VecNormalize(VecNormalize(env, norm_reward=False), norm_obs=False) if apart else VecNormalize(env)

    model = ppo(env := normalized(2, seed=0)).learn(64)
    seen, predict = [], PPO.predict

    def spy(self, observation, *rest, **named):
        seen.append(observation)
        return predict(self, observation, *rest, **named)

    monkeypatch.setattr(PPO, "predict", spy)
    raw = make_vec_env("CartPole-v1", 1)
    given = normalized(1)
    for eval_env in ("CartPole-v1", raw, given):
        push_to_hub(model, "user/cart", eval_env=eval_env, n_eval_episodes=1, seed=3, video=False)
    raw.seed(3)
    expected = (env.venv if apart else env).normalize_obs(raw.reset())
    np.testing.assert_array_equal(seen[0], expected)
    returns = [
        json.loads(files["results.json"])["returns"]
        for files in hub.repos["user/cart"].commits.values()
        if "results.json" in files
    ]
    assert returns[0] == returns[1] == returns[2]
    assert given.training
    assert given.norm_reward


def test_a_model_whose_statistics_are_incomplete(offline):
    save_checkpoint(ppo(VecNormalize(make_vec_env("CartPole-v1", 1))).learn(16), "saved")
    with pytest.raises(CheckpointError, match="loaded without environments, .* load it with env="):
        push_to_hub(load_checkpoint("saved"), "user/cart")


def test_what_cannot_be_recorded_or_evaluated(hub):
    model = DDPG(
        "MlpPolicy", make_vec_env("Pendulum-v1", 2), action_noise=NormalActionNoise([0.0], [0.1]), device="cpu"
    )
    model.learn(10)
    with pytest.raises(ValueError, match="eval_env does not fit the model"):
        push_to_hub(model, "user/pendulum", eval_env="CartPole-v1")
    broken = gym.wrappers.TransformReward(gym.make("Pendulum-v1"), lambda reward: float("nan"))
    with pytest.raises(ValueError, match="1 of 1 episodes in eval_env have a return that is not a finite number"):
        push_to_hub(model, "user/pendulum", eval_env=broken, n_eval_episodes=1)
    model.env = None
    with pytest.warns(UserWarning, match="no replay.mp4: pass eval_env="):
        push_to_hub(model, "user/pendulum")
    assert load_from_hub("user/pendulum").action_noise is not None


def test_a_folder_that_is_something_else(offline):
    Path("mine").mkdir()
    Path("mine/thesis.tex").touch()
    with pytest.raises(CheckpointError, match="mine already exists and will not be replaced: choose another path"):
        push_to_hub(ppo(), "user/cart", directory="mine")


def test_a_missing_extra(offline, monkeypatch):
    monkeypatch.setattr("velora_sb3._optional.find_spec", lambda name: None)
    with pytest.raises(ImportError, match='push_to_hub needs huggingface_hub: pip install "velora-sb3'):
        push_to_hub(None, "user/cart")
