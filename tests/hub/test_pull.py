import json
from pathlib import Path

import numpy as np
import pytest
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import VecCheckNan, VecFrameStack, VecNormalize

from tests.hub.conftest import set_endpoint
from tests.hub.test_push import BUNDLE, ppo
from velora_sb3 import RecurrentSAC, StatefulPredictor, save_checkpoint
from velora_sb3.checkpoints import CheckpointError
from velora_sb3.hub import HubError, load_from_hub, pull_from_hub, push_to_hub


class Extractor(FlattenExtractor):
    """A class of the user's own."""


@pytest.fixture
def normalized(hub):
    """A model that was trained in two environments under VecNormalize, on the Hub."""
    model = ppo(VecNormalize(make_vec_env("CartPole-v1", 2, seed=0))).learn(64)
    push_to_hub(model, "user/cart", video=False)
    return model


def test_a_model_without_environments_predicts_under_its_statistics(normalized, monkeypatch):
    monkeypatch.setattr("pickle.load", None)
    monkeypatch.setattr("torch.load", None)
    model, own = load_from_hub("user/cart"), normalized.get_vec_normalize_env()
    observations = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    actions, _ = StatefulPredictor(model).predict(observations, deterministic=True)
    np.testing.assert_array_equal(actions, normalized.predict(own.normalize_obs(observations), deterministic=True)[0])


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("n_envs", [1, 3])
def test_any_number_of_environments_to_train_on(n_envs, wrapped, normalized):
    venv = make_vec_env("CartPole-v1", n_envs)
    model = load_from_hub("user/cart", VecNormalize(venv) if wrapped else venv)
    ours, theirs = model.get_vec_normalize_env(), normalized.get_vec_normalize_env()
    for name in ("obs_rms", "ret_rms"):
        for part in ("mean", "var", "count"):
            np.testing.assert_array_equal(getattr(getattr(ours, name), part), getattr(getattr(theirs, name), part))
    steps = model.num_timesteps
    model.learn(48, reset_num_timesteps=False)
    assert model.num_timesteps == steps + 48


def test_an_environment_that_lacks_the_normalization(normalized):
    with pytest.raises(CheckpointError, match="user/cart: .* do not match"):
        load_from_hub("user/cart", VecFrameStack(make_vec_env("CartPole-v1", 1), 2))
    with pytest.warns(UserWarning, match="trained under 1 VecNormalize, but its environments have 0"):
        load_from_hub("user/cart", VecCheckNan(make_vec_env("CartPole-v1", 1)))


def test_off_policy_with_its_replay_buffer(hub):
    settings = {"learning_starts": 10, "policy_kwargs": {"units": 4}, "buffer_size": 100, "device": "cpu", "seed": 0}
    model = RecurrentSAC("LiquidPolicy", "Pendulum-v1", **settings).learn(20)
    push_to_hub(model, "user/pendulum", video=False, buffer=True, revision="with-buffer")
    other = load_from_hub("user/pendulum", "Pendulum-v1", revision="with-buffer")
    assert other.replay_buffer.size() == 20
    other.learn(5)
    push_to_hub(model, "user/pendulum", video=False)
    other = load_from_hub("user/pendulum", "Pendulum-v1")
    assert other.replay_buffer.size() == 0
    assert other.replay_buffer.buffer_size == 100
    other.learn(15)


def test_a_private_repository_and_a_revision(hub, monkeypatch):
    push_to_hub(ppo(), "user/cart", video=False, private=True)
    first = hub.repos["user/cart"].branches["main"]
    push_to_hub(ppo(verbose=0, gamma=0.5), "user/cart", video=False)
    assert load_from_hub("user/cart").gamma == 0.5
    assert load_from_hub("user/cart", revision=first).gamma == 0.99
    with pytest.raises(HubError, match="cannot load user/cart: it has no revision 'nowhere'"):
        load_from_hub("user/cart", revision="nowhere")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(HubError, match="no such repository, or it is private and the token does not open it"):
        pull_from_hub("user/other")
    assert not Path("other").exists()


def test_the_cache_serves_without_network(hub, monkeypatch):
    push_to_hub(ppo(), "user/cart", video=False)
    load_from_hub("user/cart")
    set_endpoint(monkeypatch, "http://127.0.0.1:9")
    load_from_hub("user/cart")
    with pytest.raises(HubError, match=r"cannot load user/other: http://127.0.0.1:9 cannot be reached"):
        load_from_hub("user/other")


def test_a_zip_file_is_refused(hub, tmp_path):
    ppo().save(tmp_path / "ppo-CartPole-v1.zip")
    hub.add("user/zip", {"ppo-CartPole-v1.zip": (tmp_path / "ppo-CartPole-v1.zip").read_bytes(), "README.md": b"hello"})
    for function in (load_from_hub, pull_from_hub):
        with pytest.raises(HubError, match="is a pickle, which can run arbitrary code when it is loaded") as caught:
            function("user/zip")
        assert "huggingface_sb3.load_from_hub('user/zip', 'ppo-CartPole-v1.zip')" in str(caught.value)
    assert not any("resolve" in path and path.endswith(".zip") for _, path in hub.requests)
    hub.add("user/none", {"README.md": b"hello"})
    with pytest.raises(HubError, match="user/none holds no checkpoint of velora-sb3"):
        load_from_hub("user/none")


def test_a_class_must_be_trusted(hub):
    model = PPO("MlpPolicy", "CartPole-v1", policy_kwargs={"features_extractor_class": Extractor}, device="cpu")
    push_to_hub(model, "user/own", video=False)
    with pytest.raises(CheckpointError, match="user/own: .*Extractor"):
        load_from_hub("user/own")
    assert isinstance(load_from_hub("user/own", trusted=[Extractor]).policy.features_extractor, Extractor)


def test_arguments_that_were_left_out(hub):
    model = SAC("MlpPolicy", "Pendulum-v1", learning_rate=lambda _: 1e-3, buffer_size=10, device="cpu")
    with pytest.raises(CheckpointError, match="learning_rate"):
        push_to_hub(model, "user/sac", video=False)
    push_to_hub(model, "user/sac", video=False, custom_objects=["learning_rate"])
    assert load_from_hub("user/sac", custom_objects={"learning_rate": 0.5}).learning_rate == 0.5


def test_damaged_files(hub):
    push_to_hub(ppo(), "user/cart", video=False)
    repo = hub.repos["user/cart"]
    files = repo.commits[repo.branches["main"]]
    manifest = json.loads(files["manifest.json"])
    manifest["files"]["state.json"]["sha256"] = "0" * 64
    repo.commit("main", {**files, "manifest.json": json.dumps(manifest).encode()}, "damage")
    for function in (load_from_hub, pull_from_hub):
        with pytest.raises(CheckpointError, match="^user/cart: state.json does not match its SHA-256"):
            function("user/cart")
    assert not Path("cart").exists()


def test_pulling_a_folder(hub):
    push_to_hub(ppo(), "user/cart", video=False, directory="pushed")
    hub.repos["user/cart"].commits[hub.repos["user/cart"].branches["main"]]["harmful.pkl"] = b"pickle"
    folder = pull_from_hub("user/cart")
    assert folder == Path("cart")
    assert {path.name for path in folder.iterdir()} == BUNDLE
    assert all((folder / name).read_bytes() == (Path("pushed") / name).read_bytes() for name in BUNDLE)
    pull_from_hub("user/cart")
    Path("mine").mkdir()
    Path("mine/thesis.tex").touch()
    with pytest.raises(CheckpointError, match="mine already exists and will not be replaced"):
        pull_from_hub("user/cart", "mine")
    save_checkpoint(ppo(), "trained")
    with pytest.raises(CheckpointError, match="trained already exists and will not be replaced"):
        pull_from_hub("user/cart", "trained")
