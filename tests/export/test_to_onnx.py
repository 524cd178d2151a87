import json
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from tests.export.models import (
    CHOICE,
    IMAGE,
    LIMITED,
    MODELS,
    TIMED,
    VECTOR,
    Spaces,
    build,
    liquid,
    normalized,
    stacked,
)
from velora_sb3 import RecurrentSAC, load_checkpoint, save_checkpoint
from velora_sb3.export import ObservationStatistics, OnnxPolicy, export_onnx


@pytest.mark.usefixtures("few_steps")
def test_the_contract(tmp_path):
    model = build(RecurrentSAC, observations=TIMED, **liquid())
    folder = export_onnx(model, tmp_path / "policy")
    assert sorted(file.name for file in folder.iterdir()) == [
        "example.py", "onnx_policy.py", "parity.json", "policy.json", "policy.onnx",
    ]  # fmt: skip
    contract = json.loads((folder / "policy.json").read_text())
    assert [(entry["name"], entry["shape"], entry["dtype"]) for entry in contract["inputs"]] == [
        ("observation.observation", [None, 3], "float32"),
        ("timespans", [None, 1], "float32"),
        ("state_in", [None, 18], "float32"),  # units, the LSTM, the previous action
        ("episode_start", [None], "bool"),
    ]
    assert [(entry["name"], entry["shape"]) for entry in contract["outputs"]] == [
        ("action", [None, 2]),
        ("state_out", [None, 18]),
    ]
    assert contract["observation_keys"] == ["observation", "timespans"]
    assert contract["action_space"]["high"] == [2.0, 3.0]
    assert contract["state"]["previous_action"] == 2
    assert "time unit" in contract["time_unit"]
    assert contract["normalization"] is None
    assert {"velora-sb3", "torch", "onnx"} <= set(contract["versions"])
    assert set(contract["files"]) == {"example.py", "onnx_policy.py", "parity.json", "policy.onnx"}
    file = onnx.load(folder / "policy.onnx")
    assert file.opset_import[0].version >= 17
    session = onnxruntime.InferenceSession(folder / "policy.onnx")
    assert [entry.name for entry in session.get_inputs()] == [entry["name"] for entry in contract["inputs"]]
    assert all(entry.shape[0] == "batch" for entry in session.get_inputs())


@pytest.mark.usefixtures("few_steps")
def test_the_example_runs_without_torch_sb3_and_this_package(tmp_path):
    folder = export_onnx(build(RecurrentSAC, observations=TIMED, **liquid()), tmp_path / "policy")
    blocked = "import sys; sys.modules.update(dict.fromkeys(('torch', 'stable_baselines3', 'velora_sb3', 'gymnasium')))"
    program = f"{blocked}; import runpy; runpy.run_path({str(folder / 'example.py')!r})"
    environment = {"PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    first, second = np.array(done.stdout.split("\n")[:6]).reshape(2, 3)
    assert [line[2:] for line in first] == [line[2:] for line in second]  # the second episode starts afresh
    assert len({line[4:] for line in first}) == 3  # it remembers within one


@pytest.mark.usefixtures("few_steps")
def test_statistics_of_a_checkpoint_go_with_the_model(tmp_path):
    model = build(RecurrentSAC, env=normalized(VECTOR), **liquid())
    save_checkpoint(model, tmp_path / "saved")
    loaded = load_checkpoint(tmp_path / "saved")
    policy = OnnxPolicy(export_onnx(loaded, tmp_path / "policy"))
    raw = np.array([9.0, -50.0, 3.0], np.float32)
    seen = model.get_vec_normalize_env().normalize_obs(raw)
    np.testing.assert_allclose(
        policy.predict(raw), model.predict(seen, None, np.ones(1), deterministic=True)[0], atol=1e-5
    )


@pytest.mark.usefixtures("few_steps")
def test_normalization_is_a_choice(tmp_path):
    env = normalized(VECTOR)
    model = build(PPO, "MlpPolicy", env=env)
    raw, seen = np.array([9.0, -50.0, 3.0], np.float32), np.array([0.1, 0.2, 0.3], np.float32)
    plain = OnnxPolicy(export_onnx(model, tmp_path / "plain", vec_normalize=False))
    np.testing.assert_allclose(plain.predict(seen), model.predict(seen, deterministic=True)[0], atol=1e-5)
    assert plain.contract["normalization"] is None
    statistics = ObservationStatistics.of(env)
    given = OnnxPolicy(export_onnx(build(PPO, "MlpPolicy"), tmp_path / "given", vec_normalize=statistics))
    own = OnnxPolicy(export_onnx(model, tmp_path / "own", vec_normalize=env))
    np.testing.assert_allclose(given.predict(raw), own.predict(raw), atol=1e-5)
    assert own.contract["normalization"]["mean"][""] == env.obs_rms.mean.tolist()
    with pytest.raises(ValueError, match="vec_normalize must be a VecNormalize, ObservationStatistics, False or None"):
        export_onnx(model, tmp_path / "wrong", vec_normalize=True)
    inner = VecNormalize(DummyVecEnv([lambda: Spaces(VECTOR, LIMITED)]))
    with pytest.raises(ValueError, match=r"statistics of shape \(3,\) for observation, which has shape \(9,\)"):
        export_onnx(build(PPO, "MlpPolicy", env=stacked()), tmp_path / "wrong", vec_normalize=inner)
    assert not (tmp_path / "wrong").exists()


@pytest.mark.usefixtures("few_steps")
def test_an_image_is_as_the_environment_gives_it(tmp_path):
    model = build(PPO, "CnnPolicy", IMAGE, CHOICE)
    model.save(tmp_path / "model.zip")
    assert OnnxPolicy(export_onnx(model, tmp_path / "a")).contract["inputs"][0]["shape"] == [None, 36, 40, 3]
    loaded = PPO.load(tmp_path / "model.zip", device="cpu")
    without = OnnxPolicy(export_onnx(loaded, tmp_path / "b"))
    assert without.contract["inputs"][0]["shape"] == [None, 3, 36, 40]
    told = OnnxPolicy(export_onnx(loaded, tmp_path / "c", observation_space=IMAGE))
    image = IMAGE.sample()
    assert told.predict(image) == without.predict(image.transpose(2, 0, 1))
    with pytest.raises(ValueError, match=r"observation_space has shape \(3,\), but the model has \(3, 36, 40\)"):
        export_onnx(loaded, tmp_path / "d", observation_space=VECTOR)


@pytest.mark.usefixtures("few_steps")
def test_sampling_with_noise_from_outside(tmp_path):
    model = build(PPO, "MlpPolicy")
    policy = OnnxPolicy(export_onnx(model, tmp_path / "gaussian", deterministic=False))
    observation = np.zeros((1, 3), np.float32)
    noise = np.array([[0.5, -1.0]], np.float32)
    distribution = model.policy.get_distribution(torch.zeros(1, 3)).distribution
    expected = (distribution.mean + distribution.stddev * torch.tensor(noise)).detach().numpy()
    got = policy.predict(observation, noise=noise)
    np.testing.assert_allclose(got, np.clip(expected, LIMITED.low, LIMITED.high), atol=1e-5)
    policy.seed(0)
    assert not np.array_equal(policy.predict(observation), policy.predict(observation))

    model = build(PPO, "MlpPolicy", actions=CHOICE)
    policy = OnnxPolicy(export_onnx(model, tmp_path / "choices", deterministic=False))
    policy.seed(0)
    drawn = policy.predict(np.zeros((20_000, 3), np.float32))
    chances = model.policy.get_distribution(torch.zeros(1, 3)).distribution.probs[0].detach().numpy()
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / len(drawn), chances, atol=0.02)

    export_onnx(build(SAC, "MlpPolicy"), tmp_path / "squashed", deterministic=False)
    for name in ("TD3", "DQN", "PPO, gSDE", "ARS"):
        with pytest.raises(ValueError, match="deterministic=False needs a policy with a distribution"):
            export_onnx(MODELS[name](), tmp_path / "wrong", deterministic=False)


@pytest.mark.usefixtures("few_steps")
def test_only_an_export_is_replaced(tmp_path):
    model = build(PPO, "MlpPolicy")
    (tmp_path / "mine").mkdir()
    export_onnx(model, tmp_path / "mine")  # an empty directory
    export_onnx(model, tmp_path / "mine")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("years")
    with pytest.raises(ValueError, match="other exists and is not an exported policy: choose another directory"):
        export_onnx(model, tmp_path / "other")
    assert (tmp_path / "other" / "thesis.txt").read_text() == "years"


class Surprising(DQN):
    def predict(self, *args, **kwargs):
        action, state = super().predict(*args, **kwargs)
        return (action + 1) % 4, state


def test_what_acts_differently_is_not_written(tmp_path):
    model = build(Surprising, "MlpPolicy", actions=CHOICE)
    with pytest.raises(ValueError, match=r"differs from model.predict at step 0: .* overridden predict"):
        export_onnx(model, tmp_path / "policy")
    assert not (tmp_path / "policy").exists()


def test_a_missing_extra(tmp_path, monkeypatch):
    monkeypatch.setattr("velora_sb3._optional.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'export_onnx needs onnx, onnxruntime: pip install "velora-sb3\[onnx\]"'):
        export_onnx(build(PPO, "MlpPolicy"), tmp_path / "policy")


def test_spaces_are_not_sampled(tmp_path, few_steps):
    model = build(PPO, "MlpPolicy", observations=spaces.Box(-1.0, 1.0, (3,)))
    model.action_space.seed(0)
    before = model.action_space.np_random.bit_generator.state
    export_onnx(model, tmp_path / "policy")
    assert model.action_space.np_random.bit_generator.state == before


class Fixed(BaseFeaturesExtractor):
    """Its batch size is a number as soon as it is traced."""

    def __init__(self, observation_space):
        super().__init__(observation_space, features_dim=4)

    def forward(self, observations):
        return torch.cat([observations, observations.new_zeros(len(observations), 1)], dim=1)


def test_a_layer_that_fixes_the_batch_size_is_told(tmp_path):
    model = build(PPO, "MlpPolicy", policy_kwargs={"features_extractor_class": Fixed})
    with pytest.raises(ValueError, match=r"the exported policy fails for 4 observations: .* use x\.shape\[0\]"):
        export_onnx(model, tmp_path / "policy")
    assert not (tmp_path / "policy").exists()
