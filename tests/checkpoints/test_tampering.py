"""A checkpoint that is not as it was written is refused, with the file's name; nothing in it is ever run."""

import json
import random
import shutil

import gymnasium as gym
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.checkpoints.conftest import small_model
from tests.checkpoints.tampering import (
    Watch,
    bomb,
    forge_manifest,
    mutate_bytes,
    mutate_json,
    mutate_safetensors,
)
from velora_sb3 import load_checkpoint, resume_training, save_checkpoint
from velora_sb3.checkpoints import CheckpointError
from velora_sb3.checkpoints.format.files import ARRAYS, BUFFER, MANIFEST, OPTIMIZERS, POLICY, STATE

FILES = [POLICY, OPTIMIZERS, BUFFER, ARRAYS, STATE, MANIFEST]
HASHED = FILES[:-1]


@pytest.fixture
def checkpoint(original, tmp_path):
    return shutil.copytree(original, tmp_path / "checkpoint")


def test_as_it_was_written_it_loads(checkpoint, model):
    loaded = load_checkpoint(checkpoint)
    for name, tensor in model.policy.state_dict().items():
        assert torch.equal(loaded.policy.state_dict()[name], tensor)


@pytest.mark.parametrize("name", HASHED)
@pytest.mark.parametrize("place", [0, 0.5, 1])
def test_one_bit(name, place, checkpoint):
    content = bytearray((checkpoint / name).read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    (checkpoint / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{name} does not match its SHA-256"):
        load_checkpoint(checkpoint)


@pytest.mark.parametrize("name", HASHED)
def test_cut(name, checkpoint):
    content = (checkpoint / name).read_bytes()
    (checkpoint / name).write_bytes(content[:-1])
    with pytest.raises(CheckpointError, match=f"{name} has {len(content) - 1} bytes instead of {len(content)}"):
        load_checkpoint(checkpoint)


@pytest.mark.parametrize("name", FILES)
def test_dropped(name, checkpoint):
    (checkpoint / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        load_checkpoint(checkpoint)


@pytest.mark.parametrize("name", FILES)
def test_taken_from_another_checkpoint(name, checkpoint, tmp_path):
    other = save_checkpoint(small_model(policy_kwargs={"net_arch": [5]}).learn(44), tmp_path / "other")
    shutil.copy(other / name, checkpoint / name)
    with pytest.raises(CheckpointError, match=r"\.safetensors|\.json"):
        load_checkpoint(checkpoint)


@pytest.mark.parametrize(("one", "other"), [(POLICY, OPTIMIZERS), (BUFFER, ARRAYS), (STATE, POLICY)])
def test_exchanged(one, other, checkpoint):
    (checkpoint / one).rename(checkpoint / "between")
    (checkpoint / other).rename(checkpoint / one)
    (checkpoint / "between").rename(checkpoint / other)
    with pytest.raises(CheckpointError, match=f"({one}|{other}) has"):
        load_checkpoint(checkpoint)
    forge_manifest(checkpoint)
    with pytest.raises(CheckpointError, match=str(checkpoint)):
        load_checkpoint(checkpoint, "CartPole-v1")


@pytest.mark.parametrize("name", FILES)
def test_cut_within_the_manifest_s_knowledge(name, checkpoint):
    content = (checkpoint / name).read_bytes()
    (checkpoint / name).write_bytes(content[: len(content) // 2])
    if name != MANIFEST:
        forge_manifest(checkpoint)
    with pytest.raises(CheckpointError, match=name):
        load_checkpoint(checkpoint, "CartPole-v1")


@pytest.mark.parametrize("name", [*FILES, "model.zip", "replay_buffer.pkl"])
@pytest.mark.parametrize("forged", [False, True])
def test_a_pickle_is_never_opened(name, forged, checkpoint, tmp_path):
    (checkpoint / name).write_bytes(bomb(tmp_path / "fired"))
    if forged and name in HASHED:
        forge_manifest(checkpoint)
    with Watch() as watch:
        if name in FILES:
            with pytest.raises(CheckpointError, match=name):
                load_checkpoint(checkpoint)
        else:
            load_checkpoint(checkpoint)
    assert watch.events == []
    assert not (tmp_path / "fired").exists()


def test_the_watch_sees_a_pickle(tmp_path):
    import pickle

    with Watch() as watch:
        pickle.loads(bomb(tmp_path / "fired"))
    assert "pickle.find_class" in watch.events
    assert (tmp_path / "fired").exists()


@pytest.mark.parametrize("name", FILES)
def test_a_link_is_not_followed(name, checkpoint, tmp_path):
    (checkpoint / name).rename(tmp_path / "elsewhere")
    (checkpoint / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match=f"{name} is a link"):
        load_checkpoint(checkpoint)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "model.zip", "a/b", "", "policy.safetensors\0"])
def test_a_manifest_lists_known_names_alone(name, checkpoint):
    manifest = json.loads((checkpoint / MANIFEST).read_text())
    manifest["files"][name] = manifest["files"][STATE]
    (checkpoint / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="does not belong to a checkpoint"):
        load_checkpoint(checkpoint)


def with_header(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


HEADERS = {
    "a gigantic shape": ({"x": {"dtype": "F32", "shape": [2**40, 2**10], "data_offsets": [0, 8]}}, bytes(8)),
    "an overflowing shape": ({"x": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 8]}}, bytes(8)),
    "offsets beyond the end": ({"x": {"dtype": "F32", "shape": [2**30], "data_offsets": [0, 2**32]}}, bytes(8)),
    "a negative shape": ({"x": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}, bytes(8)),
    "no JSON": (b"{" * 100, b""),
    "depth": (b"[" * 100_000, b""),
    "a hole": ({"x": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, bytes(8)),
}


@pytest.mark.parametrize("name", [POLICY, OPTIMIZERS, BUFFER, ARRAYS])
@pytest.mark.parametrize("header", HEADERS)
def test_what_a_header_declares_is_not_believed(name, header, checkpoint):
    with_header(checkpoint / name, *HEADERS[header])
    forge_manifest(checkpoint)
    with pytest.raises(CheckpointError, match=f"{name} is not a valid safetensors file"):
        load_checkpoint(checkpoint, "CartPole-v1")


def test_a_header_s_length_is_not_believed(checkpoint):
    (checkpoint / POLICY).write_bytes(b"\xff" * 8 + bytes(100))
    forge_manifest(checkpoint)
    with pytest.raises(CheckpointError, match=f"{POLICY} is not a valid safetensors file"):
        load_checkpoint(checkpoint)


def change(checkpoint, function):
    """Change ``state.json`` and let the manifest agree."""
    state = json.loads((checkpoint / STATE).read_text())
    function(state)
    (checkpoint / STATE).write_text(json.dumps(state))
    forge_manifest(checkpoint)


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        (("arguments", "policy_kwargs"), {"net_arch": [10**9]}, "holds no more than"),
        (("arguments", "policy_kwargs"), {"net_arch": {"qf": [400, 400]}}, "holds no more than"),
        (("arguments", "policy_kwargs"), {"features_extractor_kwargs": {"features_dim": 10**9}}, "holds no more than"),
        (("arguments", "buffer_size"), 10**15, "cannot be loaded"),
        (
            ("observation_space",),
            {"$type": "space", "kind": "MultiBinary", "n": 10**15},
            "cannot be loaded",
        ),
        (("algorithm",), "os.system", "'os.system', which is not on the list"),
        (("algorithm",), "torch.nn.modules.activation.ReLU", "expected a subclass of BaseAlgorithm"),
        (("policy",), "stable_baselines3.sac.sac.SAC", "expected a subclass of BasePolicy"),
        (("attributes", "predict"), 3, "'predict', which is not part"),
        (("attributes", "__class__"), 3, "'__class__', which is not part"),
        (("schema",), 99, "has schema 99"),
        (("attributes",), [], "cannot be loaded"),
    ],
)
def test_what_the_state_declares_is_not_believed(place, value, told, checkpoint):
    def put(state):
        *outer, name = place
        for key in outer:
            state = state[key]
        state[name] = value

    change(checkpoint, put)
    with pytest.raises(CheckpointError, match=told) as caught:
        load_checkpoint(checkpoint)
    assert STATE in str(caught.value)


def test_json_is_read_to_a_limit_and_to_a_depth(checkpoint):
    (checkpoint / STATE).write_text("[" * 10**6 + "]" * 10**6)
    forge_manifest(checkpoint)
    with pytest.raises(CheckpointError, match=f"{STATE} is not valid JSON"):
        load_checkpoint(checkpoint)
    with (checkpoint / STATE).open("wb") as file:
        file.truncate(65 * 2**20)
    forge_manifest(checkpoint)
    with pytest.raises(CheckpointError, match=f"{STATE} has {65 * 2**20} bytes"):
        load_checkpoint(checkpoint)


def test_a_name_that_stands_twice_is_refused(checkpoint):
    (checkpoint / MANIFEST).write_text('{"format": 1, "format": 2}')
    with pytest.raises(CheckpointError, match="duplicate name"):
        load_checkpoint(checkpoint)


def test_a_replay_buffer_that_does_not_fit_is_refused(checkpoint):
    save_file({"observations": torch.zeros(3, 1, 4)}, checkpoint / BUFFER)
    forge_manifest(checkpoint)
    with pytest.raises(CheckpointError, match=BUFFER):
        load_checkpoint(checkpoint)


def mutated(original, place, draw):
    """A copy of a checkpoint with one file changed, and mostly a manifest that agrees."""
    shutil.copytree(original, place)
    name = draw.choice(FILES)
    content = (place / name).read_bytes()
    if draw.random() < 1 / 3:
        changed = mutate_bytes(content, draw)
    elif name.endswith(".json"):
        changed = json.dumps(mutate_json(json.loads(content), draw)).encode()
    else:
        changed = mutate_safetensors(content, draw)
    (place / name).write_bytes(changed)
    if name != MANIFEST and draw.random() < 0.8:
        forge_manifest(place)
    return place


def outcome(use):
    """What a CheckpointError says, None if there is none; any other error fails the test."""
    try:
        use()
    except CheckpointError as error:
        return str(error)
    return None


@pytest.mark.parametrize("round_", range(10))
def test_a_thousand_mutated_checkpoints_give_clear_errors_alone(round_, original, tmp_path, recwarn):
    outcomes = {"loads": 0, "refused": 0}
    for number in range(105):
        draw = random.Random(1000 * round_ + number)
        place = mutated(original, tmp_path / "mutated", draw)
        env = gym.make("CartPole-v1") if draw.random() < 0.5 else None
        with Watch() as watch:
            told = outcome(lambda place=place, env=env: load_checkpoint(place, env, device="cpu"))
        outcomes["loads" if told is None else "refused"] += 1
        assert told is None or str(place) in told
        assert watch.events == []
        shutil.rmtree(place)
    assert outcomes["refused"] > 80


def test_mutated_checkpoints_are_not_resumed_with_other_errors_either(original, tmp_path, recwarn):
    for number in range(60):
        draw = random.Random(number)
        place = shutil.copytree(original, tmp_path / "mutated")
        state = json.loads((place / STATE).read_bytes())
        for part in ("random", "log", "callbacks", "exploration_matrices"):
            if draw.random() < 0.5:
                state[part] = mutate_json({"it": state[part]}, draw).get("it")
        (place / STATE).write_text(json.dumps(state))
        forge_manifest(place)
        before = np.random.get_state(legacy=False)
        told = outcome(lambda place=place: resume_training(place, "CartPole-v1", device="cpu", total_timesteps=40))
        assert told is None or str(place) in told
        np.random.set_state(before)
        shutil.rmtree(place)
